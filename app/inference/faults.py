"""Which faults leave a device unusable. CUDA then answers every call with the same error until the process ends.

torch is not needed to know one: what is raised is a RuntimeError, and its words are CUDA's.
"""

from __future__ import annotations

import re

from app.inference.errors import DeviceLost

# Errors of which CUDA's documentation says that the process must be terminated and relaunched (driver_types.h,
# cudaError), as cudaGetErrorString words them.
_FATAL = re.compile(
    r"device-side assert|illegal (memory access|instruction)|unspecified launch failure|launch timed out"
    r"|misaligned address|hardware stack error|invalid program counter|global/shared address space"
    r"|context is destroyed|uncorrectable (ECC|NVLink) error|unknown error"
)


def is_lost(error: BaseException) -> bool:
    """Whether nothing runs on the device any more in this process. torch says so by AcceleratorError, or its base."""
    return isinstance(error, RuntimeError) and "CUDA error" in str(error) and bool(_FATAL.search(first_line(error)))


def loss_in(error: BaseException) -> DeviceLost | None:
    """The loss of the device that `error` tells of, or what it was raised from; None where the device goes on."""
    if isinstance(error, DeviceLost):
        return error
    found = next((one for one in (error, error.__cause__) if one is not None and is_lost(one)), None)
    return DeviceLost(f"The device failed and must be started anew ({first_line(found)}).") if found else None


def first_line(error: BaseException) -> str:
    """torch puts advice for its developers below."""
    return str(error).partition("\n")[0].rstrip(".")
