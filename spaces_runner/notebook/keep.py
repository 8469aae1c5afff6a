"""Saves the state every now and then, and says once where that fails: a Space need not end for it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from spaces_runner.notebook.snapshot import Snapshot
from spaces_runner.notebook.tell import Tell

SAVE_S = 30.0  # between two looks at whether there is anything new


@dataclass(slots=True, kw_only=True)
class Keeper:
    """`snapshot`: None where the platform keeps nothing; then nothing is done."""

    snapshot: Snapshot | None
    tell: Tell
    _due: float = field(default=0.0, init=False)
    _failed: bool = field(default=False, init=False)

    def save_when_due(self, now: float) -> None:
        """`now`: seconds of any clock that only goes on."""
        if now >= self._due:
            self._due = now + SAVE_S
            self.save()

    def save(self) -> None:
        if self.snapshot is None:
            return
        try:
            self.snapshot.save()
        except (OSError, sqlite3.Error) as error:
            if not self._failed:
                self.tell.line(
                    f"The state cannot be saved in {self.snapshot.kept}: {error}. It ends with this machine."
                )
            self._failed = True
        else:
            self._failed = False
