"""What people call the device that a model runs on. Knows the GPUs' names."""

from __future__ import annotations

from functools import cache

from spaces_runner import gpu
from spaces_runner.types import Gpu


def device(name: str) -> str:
    """`cpu` and `cuda:0` as CPU and NVIDIA H100 80GB HBM3; "" for no device."""
    return named(name, _inventory()) if name else ""


def named(name: str, gpus: tuple[Gpu, ...]) -> str:
    """Torch numbers the GPUs it may use, NVML all of them: between different ones nobody could say which is meant."""
    kind, _, number = name.partition(":")
    if kind != "cuda":
        return "CPU" if kind == "cpu" else name
    kinds = {card.name for card in gpus}
    return kinds.pop() if len(kinds) == 1 else f"GPU {number or 0}"


@cache
def _inventory() -> tuple[Gpu, ...]:
    """A machine's GPUs keep their names while it runs."""
    return gpu.inventory()
