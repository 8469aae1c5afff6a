"""Weights of a model from the device's memory to the host's and back, by the storages under its tensors.

A storage is emptied and filled again in place: every tensor, view and alias over it stays as it is, whoever holds it,
also those of quantised layers that no module names. The engine must hold no graph captured over them meanwhile.

In the host's memory they lie in one block of their own size. Under CUDA its pages are locked, so that the device copies
directly; not by torch's pinned allocator, which takes the next power of two for each storage (16 GiB for 13) and keeps
what it ever had.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import Any

import torch

from app.inference.errors import OutOfMemory
from app.inference.loaded import LoadedModel

_OPEN = ("bitsandbytes.",)  # packages whose objects hold tensors of weights in plain attributes
_ALIGNED = 512  # bytes: where a copy begins

_LOG = logging.getLogger(__name__)

Pin = Callable[[torch.Tensor], Callable[[], None]]  # locks the pages of a host tensor; what it returns undoes that


class HostBlock:
    """Bytes in the host's memory, locked by `pin` where there is one. Unlocked and given back by `free`, or when it is
    let go of.
    """

    def __init__(self, nbytes: int, pin: Pin | None) -> None:
        """Raises RuntimeError when the host has no room."""
        self.bytes = torch.empty(nbytes, dtype=torch.uint8)
        unpin = pin(self.bytes) if pin is not None else _nothing
        self._end = weakref.finalize(self, _unlocked, self.bytes, unpin)
        self._end.atexit = False  # the end of the process gives back all

    def free(self) -> None:
        """Nothing may be copied from it or to it at that moment."""
        self._end()
        self.bytes = torch.empty(0, dtype=torch.uint8)


class ParkedWeights:
    """Weights that sleep. The model cannot run until they are restored."""

    def __init__(self, storages: list[torch.UntypedStorage], device: torch.device, pin: Pin | None) -> None:
        """Raises RuntimeError, with the weights still in place, when the host has no room."""
        self._storages, self._sizes, self._device = storages, [storage.nbytes() for storage in storages], device
        self._block = HostBlock(sum(map(_aligned, self._sizes)), pin)
        for storage, host in zip(storages, self._parts(), strict=True):
            host.copy_(_bytes_of(storage), non_blocking=True)
        _finish(device)
        for storage in storages:
            storage.resize_(0)

    @property
    def nbytes(self) -> int:
        """Of the host's memory."""
        return self._block.bytes.nbytes

    def restore(self) -> None:
        """Put them back. Raises OutOfMemory with nothing moved when the device has no room."""
        grown: list[torch.UntypedStorage] = []
        try:
            for storage, size in zip(self._storages, self._sizes, strict=True):
                storage.resize_(size)
                grown.append(storage)
        except torch.OutOfMemoryError as error:
            for storage in grown:
                storage.resize_(0)
            raise OutOfMemory(f"The device has no room for weights of {sum(self._sizes)} bytes.") from error
        for storage, host in zip(self._storages, self._parts(), strict=True):
            _bytes_of(storage).copy_(host, non_blocking=True)
        _finish(self._device)
        self._block.free()

    def _parts(self) -> list[torch.Tensor]:
        starts = accumulate(map(_aligned, self._sizes), initial=0)
        return [self._block.bytes[start : start + size] for start, size in zip(starts, self._sizes, strict=False)]


def park(loaded: LoadedModel, pin: Pin | None = None) -> ParkedWeights:
    """Copy all of the model's storages on its device to host memory, locked under CUDA, and empty them.

    Raises RuntimeError, with the weights still in place, when the host has no room.
    """
    if pin is None and loaded.device.type == "cuda":
        cudart: Callable[[], Any] = torch.cuda.cudart  # which torch does not annotate
        pin = partial(lock_pages, cudart(), loaded.device)
    return ParkedWeights(storages_of(loaded), loaded.device, pin)


def lock_pages(cudart: Any, device: torch.device, host: torch.Tensor) -> Callable[[], None]:
    """Lock a tensor's pages for copies of the device; what undoes that. `cudart`: torch.cuda.cudart().

    Where the system allows no more locked pages, copies go through the driver's own buffers: slower, and as right.
    """
    result = int(cudart.cudaHostRegister(host.data_ptr(), host.nbytes, 0))
    if result == 0:
        return partial(_unlock_pages, cudart, host.data_ptr())
    _LOG.warning("%.1f GiB of host memory could not be locked (CUDA error %d)", host.nbytes / 1024**3, result)
    with suppress(RuntimeError):  # the error is kept for the next kernel to stumble over: this one
        torch.zeros(1, device=device)
    return _nothing


def _unlock_pages(cudart: Any, address: int) -> None:
    if result := int(cudart.cudaHostUnregister(address)):
        _LOG.warning("Host memory could not be unlocked (CUDA error %d)", result)


def _nothing() -> None:
    return


def _unlocked(_block: torch.Tensor, unpin: Callable[[], None]) -> None:
    """The block lives on until this was called."""
    unpin()


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNED) * _ALIGNED


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
