"""Where other threads meet the engine: sequences handed in, cancellations, and the gate in front of every sink."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.inference.engine.live import Ticket
from app.inference.engine.types import EngineEvent
from app.inference.errors import Overloaded


class Intake:
    """Tickets by the ids of their sequences, from their submission to their end.

    One lock guards them, and is held while a sink is called: once `cancel` has returned, the sink is not called again.
    """

    def __init__(self, max_waiting: int) -> None:
        self._lock = threading.RLock()  # a sink may cancel its own sequence
        self._max_waiting = max_waiting
        self._new: list[Ticket] = []
        self._open: dict[str, Ticket] = {}
        self._waiting = 0
        self._waiting_tokens = 0
        self._cancelled: list[Ticket] = []

    @property
    def waiting(self) -> int:
        return self._waiting

    @property
    def idle(self) -> bool:
        """Nothing handed in is left, and nothing to clean up."""
        return not self._open and not self._cancelled

    def put(self, ticket: Ticket, retry_after: Callable[[int], int]) -> None:
        """Accept a ticket. Raises Overloaded, and ValueError for an id that is in use.

        `retry_after`: seconds until so many tokens are done.
        """
        with self._lock:
            if ticket.sequence.id in self._open:
                raise ValueError(f"there is a sequence {ticket.sequence.id} already")
            if self._waiting >= self._max_waiting:
                raise Overloaded(
                    f"{self._waiting} requests are waiting; the queue is full.",
                    retry_after=retry_after(self._waiting_tokens),
                )
            self._open[ticket.sequence.id] = ticket
            self._new.append(ticket)
            self._waiting += 1
            self._waiting_tokens += ticket.capacity

    def cancel(self, sequence_id: str) -> None:
        """Close the gate; the stepping thread clears up. An id that is unknown, or has ended, changes nothing."""
        with self._lock:
            ticket = self._open.pop(sequence_id, None)
            if ticket is not None:
                ticket.cancelled = True
                self._cancelled.append(ticket)

    def collect(self) -> tuple[list[Ticket], list[Ticket]]:
        """What was handed in and what was cancelled since last time."""
        with self._lock:
            new, self._new = self._new, []
            cancelled, self._cancelled = self._cancelled, []
        return new, cancelled

    def left_queue(self, ticket: Ticket) -> None:
        """One of those who waited waits no longer."""
        with self._lock:
            self._waiting -= 1
            self._waiting_tokens -= ticket.capacity

    def tell(self, ticket: Ticket, event: EngineEvent) -> None:
        with self._lock:
            if not ticket.cancelled:
                ticket.sequence.sink(event)

    def close(self, ticket: Ticket, event: EngineEvent) -> None:
        """Tell the last event."""
        with self._lock:
            if not ticket.cancelled:
                self._open.pop(ticket.sequence.id, None)
                ticket.cancelled = True
                ticket.sequence.sink(event)
