"""Weights of a model from the device's memory to the host's and back, by the storages under its tensors.

A storage is emptied and filled again in place: every tensor, view and alias over it stays as it is, whoever holds it,
also those of quantised layers that no module names. The engine must hold no graph captured over them meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from app.inference.loaded import LoadedModel

_OPEN = ("bitsandbytes.",)  # packages whose objects hold tensors of weights in plain attributes


class ParkedWeights:
    """Weights that sleep. The model cannot run until they are restored."""

    def __init__(self, copies: list[tuple[torch.UntypedStorage, torch.Tensor]], device: torch.device) -> None:
        self._copies, self._device = copies, device

    @property
    def nbytes(self) -> int:
        return sum(host.numel() for _, host in self._copies)

    def restore(self) -> None:
        """Put them back. Raises torch.OutOfMemoryError with nothing moved when the device has no room."""
        grown: list[torch.UntypedStorage] = []
        try:
            for storage, host in self._copies:
                storage.resize_(host.numel())
                grown.append(storage)
        except torch.OutOfMemoryError:
            for storage in grown:
                storage.resize_(0)
            raise
        for storage, host in self._copies:
            _bytes_of(storage).copy_(host, non_blocking=True)
        _finish(self._device)


def park(loaded: LoadedModel) -> ParkedWeights:
    """Copy all of the model's storages on its device to host memory, pinned under CUDA, and empty them.

    Raises RuntimeError, with the weights still in place, when the host has no room.
    """
    storages = storages_of(loaded)
    pinned = loaded.device.type == "cuda"  # a copy to and from pinned memory is several times as fast
    copies = [(storage, torch.empty(storage.nbytes(), dtype=torch.uint8, pin_memory=pinned)) for storage in storages]
    for storage, host in copies:
        host.copy_(_bytes_of(storage), non_blocking=True)
    _finish(loaded.device)
    for storage in storages:
        storage.resize_(0)
    return ParkedWeights(copies, loaded.device)


def storages_of(loaded: LoadedModel) -> list[torch.UntypedStorage]:
    """Every storage on the model's device that its modules, its quantised layers or its adapters hold, each once."""
    found: dict[int, torch.UntypedStorage] = {}
    for tensor in _tensors_of(loaded):
        storage = tensor.untyped_storage()
        if tensor.device == loaded.device and storage.nbytes():
            found.setdefault(storage.data_ptr(), storage)
    return list(found.values())


def _tensors_of(loaded: LoadedModel) -> Iterator[torch.Tensor]:
    seen: set[int] = set()
    for module in loaded.model.modules():
        yield from _inside(vars(module), seen)
    for adapter in loaded.adapters.values():
        for layer in adapter.layers.values():
            yield from _inside([layer.a, layer.b], seen)


def _inside(value: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """The tensors in containers, in attributes of tensors (a 4-bit weight has its scales there) and of open objects."""
    if id(value) in seen:
        return
    if isinstance(value, torch.Tensor):
        seen.add(id(value))
        yield value
        yield from _inside(vars(value), seen)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _inside(item, seen)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _inside(item, seen)
    elif type(value).__module__.startswith(_OPEN):
        seen.add(id(value))
        if not isinstance(value, torch.nn.Module):  # modules are walked by themselves
            yield from _inside(getattr(value, "__dict__", {}), seen)


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
