"""The one place where whatever goes wrong is caught: it ends one request, never the engine.

With one exception: what leaves the device unusable. CUDA then answers every call with the same error until the process
ends, so no request can be served any more.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TypeVar

import torch

from app.inference.errors import DeviceLost, GenerationFailed, InferenceError, OutOfMemory

log = logging.getLogger(__name__)

T = TypeVar("T")

# Errors of which CUDA's documentation says that the process must be terminated and relaunched (driver_types.h,
# cudaError), as cudaGetErrorString words them.
_FATAL = re.compile(
    r"device-side assert|illegal (memory access|instruction)|unspecified launch failure|launch timed out"
    r"|misaligned address|hardware stack error|invalid program counter|global/shared address space"
    r"|context is destroyed|uncorrectable (ECC|NVLink) error|unknown error"
)
_FULL = "CUDA error: out of memory"  # what a call of CUDA's own says; torch's allocator raises OutOfMemoryError


def guarded(do: Callable[[], T]) -> T | InferenceError:
    """What `do` returns, or what it raised as an error of ours. Raises DeviceLost."""
    try:
        return do()
    except InferenceError as error:
        return error
    except Exception as error:  # the supervisor boundary: one request fails, the others go on
        if is_lost(error):
            raise DeviceLost(f"The device failed and must be started anew ({_first_line(error)}).") from error
        if is_full(error):
            torch.cuda.empty_cache()
            log.warning("Out of memory: %s", error)
            return OutOfMemory("The device has no room for this request.", hint="Try again when less is going on.")
        log.exception("A step failed.")
        return GenerationFailed(f"The model failed on this request ({type(error).__name__}: {_first_line(error)}).")


def is_lost(error: Exception) -> bool:
    """Whether nothing runs on the device any more in this process. torch says so by AcceleratorError, or its base."""
    return isinstance(error, RuntimeError) and "CUDA error" in str(error) and bool(_FATAL.search(_first_line(error)))


def is_full(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and _FULL in str(error))


def _first_line(error: Exception) -> str:
    """torch puts advice for its developers below."""
    return str(error).partition("\n")[0].rstrip(".")
