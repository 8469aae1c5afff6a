"""Waits for orphans: what an app left running comes to its subreaper, and stays a zombie until it is waited for."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from spaces_runner.process import zombie_children

SETTLE_S = 5.0  # by then whoever started a process has waited for it; what is left is nobody's


class Reaper:
    """Costs nothing while no child ends: `wake` says when `look` has something to do."""

    def __init__(self) -> None:
        self._seen: frozenset[int] = frozenset()
        self._due: float | None = None

    @property
    def wake(self) -> float | None:
        """Seconds until the next look, or None."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def arm(self) -> None:
        """A child may have ended."""
        if self._due is None:
            self._due = time.monotonic() + SETTLE_S

    def look(self) -> None:
        """Wait for the zombies that were there at the last look already."""
        if self._due is None or time.monotonic() < self._due:
            return
        zombies = frozenset(zombie_children())
        for pid in zombies & self._seen:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._seen = zombies - self._seen
        self._due = time.monotonic() + SETTLE_S if self._seen else None
