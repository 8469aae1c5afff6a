"""The GPUs of this machine, and which run has which. Knows NVML and the store's leases, no Space.

Without a driver, or without the library, there are none, which is not an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from spaces_runner.errors import GpuUnavailable
from spaces_runner.store import Store
from spaces_runner.types import Gpu, Stage

AUTO, NONE = "auto", "none"
# GiB of the Hub's machines, by the beginning of their names. Source: the Hub's hardware table.
_HARDWARE_GIB = (
    ("t4", 16), ("l4", 24), ("l40s", 48), ("a10g", 24), ("a100", 80), ("h100", 80), ("h200", 141), ("zero", 70),
)  # fmt: skip


def inventory(visible: str | None = None) -> tuple[Gpu, ...]:
    """The GPUs that NVML sees, in its order; of one that is partitioned (MIG), its parts.

    One that does not answer, because it fell off the bus, say, is left out, and keeps its number. `visible` is what
    the owner's CUDA_VISIBLE_DEVICES leaves (None: it is not set): a shared machine's scheduler gives cards that way.
    """
    return allowed(_all(), visible)


def allowed(gpus: tuple[Gpu, ...], visible: str | None) -> tuple[Gpu, ...]:
    """Those that `visible` names by index or by the beginning of a UUID, in its order, up to the first it gets wrong.

    So CUDA reads it: https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
    """
    if visible is None:
        return gpus
    found: list[Gpu] = []
    for word in visible.split(","):
        named = [gpu for gpu in gpus if _names(word.strip(), gpu)]
        if not named:
            break
        found += named[:1]
    return tuple(dict.fromkeys(found))


def _names(word: str, gpu: Gpu) -> bool:
    return word == str(gpu.index) or (word.startswith(("GPU-", "MIG-")) and gpu.uuid.startswith(word))


def _all() -> tuple[Gpu, ...]:
    if not _has_library():
        return ()
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = [handle for index in range(pynvml.nvmlDeviceGetCount()) for handle in _devices(pynvml, index)]
        return tuple(gpu for number, handle in enumerate(handles) if (gpu := _read(pynvml, number, handle)))
    except pynvml.NVMLError:
        return ()
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def choose(wanted: str, gpus: tuple[Gpu, ...], held: Mapping[str, int]) -> Gpu | None:
    """The GPU for a run that asks for `wanted`: "auto", "none", an index or a UUID. `held`: runs by UUID.

    "auto" takes the one that the fewest runs hold, and of those the one with most free memory; None where there is no
    GPU. Raises GpuUnavailable where a particular one is not there.
    """
    if wanted == NONE:
        return None
    if wanted == AUTO:
        return min(gpus, key=lambda gpu: (held.get(gpu.uuid, 0), -gpu.free_bytes, gpu.index), default=None)
    for gpu in gpus:
        if wanted in (str(gpu.index), gpu.uuid):
            return gpu
    there = ", ".join(f"{gpu.index} ({gpu.name}, {gpu.uuid})" for gpu in gpus) or "none"
    raise GpuUnavailable(
        f"There is no GPU {wanted!r} on this machine. There: {there}.",
        hint="Take one of these, or auto, or none. CUDA_VISIBLE_DEVICES, where you have set it, leaves only some.",
    )


def require(wanted: str, visible: str | None = None) -> None:
    """Raises GpuUnavailable where a run asks for a particular GPU that is not here: to be asked before it is made."""
    if wanted not in (AUTO, NONE):
        choose(wanted, inventory(visible), {})


def lease(store: Store, run_id: str, wanted: str, visible: str | None = None) -> Gpu | None:
    """Choose a GPU for a run and lease it until the run ends. Raises GpuUnavailable."""
    gpus = () if wanted == NONE else inventory(visible)

    def uuid(held: Mapping[str, int]) -> str | None:
        chosen = choose(wanted, gpus, held)
        return chosen.uuid if chosen else None

    leased = store.lease(run_id, uuid)
    gpu = next((gpu for gpu in gpus if gpu.uuid == leased), None)
    store.update(run_id, {"gpu": f"{gpu.index}: {gpu.name}" if gpu else None})
    return gpu


def promised(store: Store, run_id: str) -> int:
    """Bytes of this run's GPU that others which are just starting were promised, and need not have taken yet.

    Of one that runs, what it took is what the driver says.
    """
    starting = (Stage.BUILDING, Stage.APP_STARTING)
    return sum(claim.size for claim in store.neighbours(run_id) if claim.stage in starting)


def needed(hardware: str | None, gpu: Gpu) -> int:
    """Bytes of `gpu` that a Space may take whose author suggests `hardware`; 0 where the author names no GPU."""
    return min(_gib(hardware or "") * 1024**3, gpu.total_bytes)


def fit(spec_hardware: str | None, gpus: tuple[Gpu, ...], which: str = AUTO) -> str:
    """One sentence on whether the GPU is what the Space's author suggests: `which`, as in `choose`, or the largest.

    Raises GpuUnavailable where a particular one is not there.
    """
    wanted = _gib(spec_hardware or "")
    largest = max(gpus, key=lambda gpu: gpu.total_bytes, default=None)
    best = largest if which == AUTO else choose(which, gpus, {})
    if best is None:
        return ("No GPU is to be used; " if which == NONE else "There is no GPU here; ") + (
            f"the author suggests {spec_hardware} ({wanted} GiB)." if wanted else "the author asks for none."
        )
    here = f"{best.name} with {_in_gib(best.total_bytes)} GiB ({_in_gib(best.free_bytes)} GiB free)"
    if not wanted:
        return f"The author names no GPU; here is {here}."
    verdict = "which is enough" if best.total_bytes >= wanted * 0.9 * 1024**3 else "which may be too small"
    return f"The author suggests {spec_hardware} ({wanted} GiB); here is {here}, {verdict}."


def _has_library() -> bool:
    """Whether the driver's part of NVML is here: without it, importing the rest is time lost at every launch."""
    import ctypes  # every face imports this module, and few ask

    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _devices(nvml: Any, index: int) -> list[Any]:
    """Handles of what a program can be given of the GPU at `index`: itself, or its parts; [None] where it is lost."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError:
        return [None]
    try:
        partitioned = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
        places = nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if partitioned else 0
    except nvml.NVMLError:  # a GPU that cannot be partitioned, or an older driver
        return [handle]
    return [part for place in range(places) if (part := _part(nvml, handle, place))] if partitioned else [handle]


def _part(nvml: Any, handle: Any, place: int) -> Any:
    try:
        return nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
    except nvml.NVMLError:  # not every place is taken
        return None


def _read(nvml: Any, number: int, handle: Any) -> Gpu | None:
    if handle is None:
        return None
    try:
        total, free = _memory(nvml, handle)
        return Gpu(
            index=number,
            uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
            name=_text(nvml.nvmlDeviceGetName(handle)),
            total_bytes=total,
            free_bytes=free,
        )
    except nvml.NVMLError:
        return None


def _memory(nvml: Any, handle: Any) -> tuple[int, int]:
    """All of it and what is free, in bytes. A GPU that has none of its own (GB10, Jetson) uses the machine's."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:
        page = os.sysconf("SC_PAGE_SIZE")
        return os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    return int(memory.total), int(memory.free)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _gib(hardware: str) -> int:
    """Memory in GiB of one of the Hub's machines; 0 for one without a GPU. `4xlarge` and `x4` mean several cards."""
    for name, gib in sorted(_HARDWARE_GIB, key=lambda entry: -len(entry[0])):
        if hardware.lower().startswith(name):
            count = re.search(r"x(\d+)$|^[a-z0-9]+-(\d+)x", hardware.lower())
            return gib * int(next(filter(None, count.groups()), "1")) if count else gib
    return 0


def _in_gib(size: int) -> str:
    return f"{size / 1024**3:.0f}"
