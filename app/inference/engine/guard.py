"""The one place where whatever goes wrong is caught: it ends one request, never the engine.

With one exception: what leaves the device unusable. CUDA then answers every call with the same error until the process
ends, so no request can be served any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from app.inference.errors import GenerationFailed, InferenceError, OutOfMemory
from app.inference.faults import first_line, loss_in

log = logging.getLogger(__name__)

T = TypeVar("T")

# What a call of CUDA's own says, and torch's allocator on the CPU. The one of CUDA raises OutOfMemoryError.
_FULL = ("CUDA error: out of memory", "DefaultCPUAllocator: can't allocate memory")


def guarded(do: Callable[[], T]) -> T | InferenceError:
    """What `do` returns, or what it raised as an error of ours. Raises DeviceLost."""
    try:
        return do()
    except InferenceError as error:
        return error
    except Exception as error:  # the supervisor boundary: one request fails, the others go on
        if lost := loss_in(error):
            raise lost from error
        if is_full(error):
            torch.cuda.empty_cache()
            log.warning("Out of memory: %s", error)
            return OutOfMemory("The device has no room for this request.", hint="Try again when less is going on.")
        log.exception("A step failed.")
        return GenerationFailed(f"The model failed on this request ({type(error).__name__}: {first_line(error)}).")


def is_full(error: Exception) -> bool:
    """Whether it says that a device has no memory left."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)
