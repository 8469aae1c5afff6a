"""How often a wrong token may be tried. Knows no requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Limiter:
    """Wrong tokens, per host name, so that strangers on a public link cannot lock the owner out at home.

    Five in a minute, then a wait that doubles with every further wrong one.
    """

    clock: Callable[[], float] = time.monotonic
    _wrong: dict[str, list[float]] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)
    _wait: dict[str, float] = field(default_factory=dict)

    ALLOWED = 5
    WINDOW_S = 60.0
    LONGEST_S = 900.0

    def wait(self, key: str) -> float:
        """Seconds until a token is looked at again; 0.0 when one would be now."""
        return max(0.0, self._until.get(key, 0.0) - self.clock())

    def wrong(self, key: str) -> None:
        now = self.clock()
        recent = [at for at in self._wrong.get(key, []) if now - at < self.WINDOW_S]
        self._wrong[key] = [*recent, now]
        if len(self._wrong[key]) >= self.ALLOWED or self._wait.get(key):
            self._wait[key] = min(self._wait.get(key, self.WINDOW_S / 2) * 2, self.LONGEST_S)
            self._until[key] = now + self._wait[key]

    def right(self, key: str) -> None:
        for table in (self._wrong, self._until, self._wait):
            table.pop(key, None)
