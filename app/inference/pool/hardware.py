"""Which device and which preset fit this machine, said in a sentence."""

from __future__ import annotations

from app.inference.catalog import Preset
from spaces_runner import gpu
from spaces_runner.types import Gpu

_GIB = 1024**3
# All bases of the catalogue in 16 bits take 63 GiB; one in 4 bits, with a cache for a few chats, 5 GiB.
FULL_FROM, FOUR_BIT_FROM = 72 * _GIB, 6 * _GIB


def usable() -> Gpu | None:
    """The GPU that torch computes on: the first that CUDA_VISIBLE_DEVICES and torch's own build leave it."""
    if not gpu.inventory():
        return None
    import torch  # takes a second or more, and is not needed to know that there is no GPU

    if not torch.cuda.is_available():
        return None
    card = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info(0)
    return Gpu(index=0, uuid=str(card.uuid), name=card.name, total_bytes=total, free_bytes=free)


def device_of(card: Gpu | None) -> str:
    return "cpu" if card is None else "cuda:0"


def preset_for(card: Gpu | None) -> tuple[Preset, str]:
    """The preset for it, and why."""
    if card is None:
        return Preset.DEMO, "No GPU here: the demo models, small weights trained to show how things work."
    here = f"{card.name} with {card.total_bytes / _GIB:.0f} GiB"
    if card.total_bytes >= FULL_FROM:
        return Preset.FULL, f"{here}: all models in 16 bits."
    if card.total_bytes >= FOUR_BIT_FROM:
        return Preset.FOUR_BIT, f"{here}: the models in 4 bits; those that do not fit at once sleep in host memory."
    return Preset.DEMO, f"{here} is too small for a model of 7 billion weights: the demo models."
