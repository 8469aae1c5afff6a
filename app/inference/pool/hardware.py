"""Which preset fits this machine, said in a sentence. Pure, over what the driver tells of the GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from app.inference.catalog import Preset
from spaces_runner.types import Gpu

_GIB = 1024**3
# All bases of the catalogue in 16 bits take 63 GiB; one in 4 bits, with a cache for a few chats, 5 GiB.
FULL_FROM, FOUR_BIT_FROM = 72 * _GIB, 6 * _GIB


def preset_for(gpus: Sequence[Gpu]) -> tuple[Preset, str]:
    """The preset for the largest of `gpus`, and why."""
    best = max(gpus, key=lambda gpu: gpu.total_bytes, default=None)
    if best is None:
        return Preset.DEMO, "No GPU here: the demo models, small weights trained to show how things work."
    here = f"{best.name} with {best.total_bytes / _GIB:.0f} GiB"
    if best.total_bytes >= FULL_FROM:
        return Preset.FULL, f"{here}: all models in 16 bits."
    if best.total_bytes >= FOUR_BIT_FROM:
        return Preset.FOUR_BIT, f"{here}: the models in 4 bits; those that do not fit at once sleep in host memory."
    return Preset.DEMO, f"{here} is too small for a model of 7 billion weights: the demo models."


def device_for(gpus: Sequence[Gpu]) -> str:
    """Where torch computes: its first CUDA device, which CUDA_VISIBLE_DEVICES chooses, or the CPU."""
    if not gpus:
        return "cpu"
    import torch  # takes a second, and is not needed to know that there is no GPU

    return "cuda:0" if torch.cuda.is_available() else "cpu"
