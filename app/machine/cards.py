"""The GPUs as NVML sees them now. Holds the library open, because opening it at every look would take longer than one.

Written after NVIDIA's NVML reference; it has not yet read a real GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.machine.values import Card, Task
from spaces_runner import gpu


@dataclass(slots=True)
class Cards:
    """`library` gives the module pynvml, opened; None where there is no driver or no GPU."""

    library: Callable[[], Any | None]
    _nvml: Any | None = None
    _asked: bool = False

    def read(self) -> tuple[Card, ...]:
        """Every GPU in NVML's order. One that is lost meanwhile is left out."""
        if not self._asked:
            self._asked, self._nvml = True, self.library()
        nvml = self._nvml
        if nvml is None:
            return ()
        try:
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError:
            return ()
        return tuple(card for index in range(count) if (card := _card(nvml, index)))


def driver() -> Any | None:
    """NVML of this machine, opened. None without a GPU."""
    if not gpu.inventory():
        return None
    import pynvml

    pynvml.nvmlInit()
    return pynvml


def _card(nvml: Any, index: int) -> Card | None:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return Card(
            index=index,
            uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
            name=_text(nvml.nvmlDeviceGetName(handle)),
            total=int(memory.total),
            used=int(memory.used),
            load=_load(nvml, handle),
            tasks=_tasks(nvml, handle),
        )
    except nvml.NVMLError:
        return None


def _load(nvml: Any, handle: object) -> float | None:
    try:
        return float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
    except nvml.NVMLError:
        return None


def _tasks(nvml: Any, handle: object) -> tuple[Task, ...]:
    """Those that compute and those that draw; one that does both is one."""
    found: dict[int, int | None] = {}
    for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        try:
            listed = ask(handle)
        except nvml.NVMLError:
            continue
        for process in listed:
            found[process.pid] = process.usedGpuMemory or found.get(process.pid)
    return tuple(Task(pid=pid, size=size) for pid, size in found.items())


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
