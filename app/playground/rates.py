"""How often guests may ask: token buckets, one for each guest and one for all. Knows no requests.

A guest can throw its name away and get another, so the bucket of all guests is what protects the machine; the one of
each guest keeps them fair to each other.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from app.playground.errors import TooFast

REMEMBERED = 10_000  # guests; those not heard of for longest are forgotten first


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`burst` at once, then `per_minute`."""

    burst: int
    per_minute: float


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float

    def refill(self, rate: Rate, now: float) -> None:
        self.level = min(rate.burst, self.level + (now - self.at) * rate.per_minute / 60)
        self.at = now

    def wait(self, rate: Rate) -> float:
        return 0.0 if self.level >= 1 else (1 - self.level) * 60 / rate.per_minute


@dataclass(slots=True)
class Rates:
    each: Rate
    together: Rate
    clock: Callable[[], float] = time.monotonic
    _guests: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)
    _all: _Bucket | None = None

    def take(self, guest: str) -> None:
        """Count one request of `guest`. Raises TooFast, and counts nothing, where it comes too soon."""
        now = self.clock()
        own = self._guests.setdefault(guest, _Bucket(self.each.burst, now))
        self._guests.move_to_end(guest)
        while len(self._guests) > REMEMBERED:
            self._guests.popitem(last=False)
        everybody = self._all = self._all or _Bucket(self.together.burst, now)
        own.refill(self.each, now)
        everybody.refill(self.together, now)
        if wait := own.wait(self.each):
            raise TooFast("You are asking faster than guests may.", retry_after=wait)
        if wait := everybody.wait(self.together):
            raise TooFast("Many guests are asking at once.", retry_after=wait)
        own.level -= 1
        everybody.level -= 1
