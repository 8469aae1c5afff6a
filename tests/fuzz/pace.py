"""How long a parser may take: 200 ms of processor time for 16 KiB, and 5 s for the most that it takes at all."""

from __future__ import annotations

import time
from collections.abc import Callable

SMALL = 16 * 1024  # bytes
SMALL_S = 0.2
LARGE_S = 5.0
SLACK = 2.0  # a processor that others use, too, needs more of its own time for the same work
TRIES = 3


def quickly(call: Callable[[], object], limit_s: float = SMALL_S) -> None:
    """Calls it, and fails where the best of three calls needs more than `limit_s` seconds of processor time."""
    needed: list[float] = []
    for _ in range(TRIES):
        begun = time.process_time()
        call()
        needed.append(time.process_time() - begun)
        if needed[-1] <= limit_s:
            return
    assert min(needed) <= limit_s * SLACK, f"{min(needed):.2f} s, and {limit_s} s are allowed"
