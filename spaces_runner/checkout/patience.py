"""Gives up on a transfer that brings nothing. Knows no git."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Patience:
    """How long it is since anything arrived."""

    limit_s: float
    clock: Callable[[], float] = time.monotonic
    _arrived: int = -1
    _since: float = field(default=0.0)

    def is_over(self, arrived: int) -> bool:
        """Whether no more than these bytes have been there for `limit_s`. To be asked again and again."""
        now = self.clock()
        if arrived != self._arrived:
            self._arrived, self._since = arrived, now
        return now - self._since > self.limit_s
