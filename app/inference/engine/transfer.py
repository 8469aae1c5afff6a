"""Numbers from the host to the device, without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Numbers = Sequence[int] | NDArray[np.int64]


def sent(numbers: Numbers, device: torch.device) -> Tensor:
    """int64 on the device. A copy out of pageable memory would make the host wait for all that the device has to do.

    Pinned memory is torch's own and is not given out again before the copy is done.
    """
    found = torch.from_numpy(np.asarray(numbers, dtype=np.int64))
    return found if device.type == "cpu" else found.pin_memory().to(device, non_blocking=True)
