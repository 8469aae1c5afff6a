"""The events of one sequence, from the engine's thread to one asyncio reader. Knows no engine.

A reader that is slow finds what came meanwhile in one Delta: there is never more waiting than the answer's own tokens.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.inference.errors import InferenceError
from app.inference.types import Delta, Event, Finished, Queued, Started

if TYPE_CHECKING:
    from app.inference.engine import EngineEvent


class Channel:
    """Made in the loop that reads it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._pending: list[EngineEvent] = []
        self._reader: asyncio.Future[None] | None = None
        self.ended = False  # Finished or Failed was put

    def put(self, event: EngineEvent) -> None:
        """Called from any thread; does not block."""
        with self._lock:
            if self.ended:
                return
            if isinstance(event, Queued) and self._pending and isinstance(self._pending[-1], Queued):
                self._pending.pop()
            self._pending.append(event)
            self.ended = self.ended or isinstance(event, Finished) or _error(event) is not None
            reader, self._reader = self._reader, None
        if reader is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_wake, reader)

    def fail(self, error: InferenceError) -> None:
        """End it for an engine that cannot: nothing that comes later counts."""
        from app.inference.engine import Failed  # there by now: the engine was

        if not self.ended:
            self.put(Failed(error=error))

    @property
    def done(self) -> bool:
        """Whether all was taken."""
        with self._lock:
            return self.ended and not self._pending

    async def take(self) -> tuple[Event, ...]:
        """What came since the last time, at least one event. A Failed is raised, once all before it is taken."""
        while not (taken := self._drain()):
            await self._wait()
        *before, last = taken
        error = _error(last)
        if error is None:
            return _joined(taken)
        if not before:
            raise error
        with self._lock:
            self._pending.insert(0, last)
        return _joined(before)

    def _drain(self) -> list[EngineEvent]:
        with self._lock:
            taken, self._pending = self._pending, []
        return taken

    async def _wait(self) -> None:
        reader = self._loop.create_future()
        with self._lock:
            if self._pending:
                return
            self._reader = reader
        await reader


def _error(event: EngineEvent) -> InferenceError | None:
    """Of a Failed, which is the engine's own and told by what it is not: the engine takes seconds to import."""
    return None if isinstance(event, Queued | Started | Delta | Finished) else event.error


def _wake(reader: asyncio.Future[None]) -> None:
    if not reader.done():  # its task may have been cancelled
        reader.set_result(None)


def _joined(events: Sequence[EngineEvent]) -> tuple[Event, ...]:
    """Neighbouring Deltas as one."""
    joined: list[Event] = []
    run: list[Delta] = []
    for event in events:
        if isinstance(event, Delta):
            run.append(event)
        elif isinstance(event, Queued | Started | Finished):
            joined += [*_one(run), event]
            run = []
    return (*joined, *_one(run))


def _one(deltas: list[Delta]) -> list[Delta]:
    if len(deltas) <= 1:
        return deltas
    text = "".join(delta.text for delta in deltas)
    return [Delta(text=text, tokens=tuple(token for delta in deltas for token in delta.tokens))]
