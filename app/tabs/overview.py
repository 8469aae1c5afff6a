"""All Spaces and what they take of the machine, looked at once for all pages that are open. Knows no components."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.desk import Desk
from app.machine.machine import Machine
from app.views import spaces as spaces_view
from spaces_runner.types import SpaceStatus

FRESH_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """`used`: what each Space whose app runs takes, in words, by its id."""

    at: float  # by the overview's clock
    statuses: tuple[SpaceStatus, ...]
    used: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Overview:
    """May be asked from any thread; who comes while somebody looks has what that one sees."""

    desk: Desk
    machine: Machine
    clock: Callable[[], float] = time.monotonic
    _last: Seen | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, *, fresh: bool = False) -> Seen:
        """The Spaces now, or up to FRESH_S ago where `fresh` does not ask for more. Raises RunnerError."""
        asked = self.clock()
        with self._lock:
            if self._last is None or self._last.at < (asked if fresh else asked - FRESH_S):
                self._last = self._look()
            return self._last

    def _look(self) -> Seen:
        at, statuses = self.clock(), self.desk.spaces()
        seen = Seen(at=at, statuses=statuses, used=self._used(statuses))
        self.machine.glance()  # the tab of the machine has something to show, whenever it is opened
        return seen

    def _used(self, statuses: tuple[SpaceStatus, ...]) -> dict[str, str]:
        apps = {status.id: status.pid for status in statuses if status.pid is not None}
        if not apps:
            return {}
        self.machine.look()
        found = {space: self.machine.usage(pid) for space, pid in apps.items()}
        return {space: spaces_view.usage(usage) for space, usage in found.items() if usage}
