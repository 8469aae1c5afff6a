"""How a stage says what it does: events and log lines, to whoever listens. Knows neither files nor screens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from spaces_runner.codec import decode, encode
from spaces_runner.types import (
    Event,
    Exited,
    Failed,
    Finding,
    Found,
    Progress,
    StageChanged,
    Step,
    StepFinished,
    StepStarted,
)

PROGRESS_EVERY_S = 0.2


def _ignore_event(event: Event) -> None:
    """Where nobody listens."""


def _ignore_line(line: str) -> None:
    """Where nobody listens."""


@dataclass(slots=True)
class Reporter:
    """Hands events to `emit` and log lines (no line end) to `log`. Progress is thinned to a few a second."""

    emit: Callable[[Event], None] = _ignore_event
    log: Callable[[str], None] = _ignore_line
    _next_progress: dict[Step, float] = field(default_factory=dict)

    @contextmanager
    def step(self, step: Step) -> Iterator[list[str]]:
        """Times a step. What the body appends to the yielded list becomes the note of its end."""
        begun = time.time()
        self.emit(StepStarted(at=begun, step=step))
        note: list[str] = []
        yield note
        now = time.time()
        self.emit(StepFinished(at=now, step=step, seconds=round(now - begun, 3), note=", ".join(note)))

    def progress(self, step: Step, done: int, total: int | None, unit: str, what: str = "") -> None:
        """`done` of `total` (None: unknown) in `unit`, such as "bytes". The last one always passes.

        `what` says of what, where the step does more than one thing.
        """
        now = time.time()
        if done != total and now < self._next_progress.get(step, 0.0):
            return
        self._next_progress[step] = now + PROGRESS_EVERY_S
        self.emit(Progress(at=now, step=step, done=done, total=total, unit=unit, what=what))

    def found(self, finding: Finding) -> None:
        self.emit(Found(at=time.time(), finding=finding))


_EVENTS: dict[str, type] = {
    cls.__name__: cls for cls in (StepStarted, Progress, StepFinished, StageChanged, Found, Failed, Exited)
}


def encode_event(event: Event) -> dict[str, Any]:
    """The event as a JSON value; `kind` names its class."""
    return {"kind": type(event).__name__, **encode(event)}


def decode_event(data: dict[str, Any]) -> Event:
    """The event that `encode_event` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    return cast(Event, decode(_EVENTS[data["kind"]], data))
