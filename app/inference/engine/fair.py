"""A fair queue: deficit round robin between clients, counted in tokens. Pure.

M. Shreedhar, G. Varghese: Efficient Fair Queueing Using Deficit Round Robin (SIGCOMM 1995).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Line(Generic[T]):
    """What one client waits for."""

    deficit: int = 0
    entries: deque[tuple[int, T]] = field(default_factory=deque)  # cost, item


class FairQueue(Generic[T]):
    """Each client in turn is served `quantum` tokens; who asks for more at once waits for more turns."""

    def __init__(self, quantum: int) -> None:
        self._quantum = quantum
        self._lines: dict[str, _Line[T]] = {}  # in the order of their turns; only clients that wait
        self._next: T | None = None

    def __len__(self) -> int:
        return sum(len(line.entries) for line in self._lines.values()) + (self._next is not None)

    def push(self, client: str, cost: int, item: T) -> None:
        self._lines.setdefault(client, _Line()).entries.append((cost, item))

    def peek(self) -> T | None:
        """Whose turn it is. It stays theirs until `pop` or `remove`: who needs much room is not overtaken for ever."""
        if self._next is None and self._lines:
            self._next = _turn(self._lines, self._quantum)
        return self._next

    def pop(self) -> T:
        """Take whose turn it is. Raises LookupError when nobody waits."""
        item = self.peek()
        if item is None:
            raise LookupError("nobody waits")
        self._next = None
        return item

    def remove(self, item: T) -> bool:
        """Take one out of the queue, wherever it stands; False when it is not there."""
        if self._next is item:
            self._next = None
            return True
        for client, line in self._lines.items():
            kept = deque(entry for entry in line.entries if entry[1] is not item)
            if len(kept) < len(line.entries):
                line.entries = kept
                if not kept:
                    del self._lines[client]
                return True
        return False

    def order(self) -> Iterator[T]:
        """All who wait, in the order in which they would be served if nobody else came."""
        if self._next is not None:
            yield self._next
        lines = {client: _Line(line.deficit, deque(line.entries)) for client, line in self._lines.items()}
        while lines:
            yield _turn(lines, self._quantum)


def _turn(lines: dict[str, _Line[T]], quantum: int) -> T:
    """Serve the first client that can pay, and leave `lines` as they are after that."""
    _skip_rounds(lines, quantum)
    while True:
        client, line = next(iter(lines.items()))
        cost, item = line.entries[0]
        if line.deficit < cost:
            line.deficit += quantum
        if line.deficit >= cost:
            line.deficit -= cost
            line.entries.popleft()
            if not line.entries:
                del lines[client]  # who leaves takes no credit along
            elif line.deficit < line.entries[0][0]:
                lines[client] = lines.pop(client)
            return item
        lines[client] = lines.pop(client)


def _skip_rounds(lines: dict[str, _Line[T]], quantum: int) -> None:
    """Grant everyone the rounds in which nobody could pay, all at once."""
    missing = min(-(-(line.entries[0][0] - line.deficit) // quantum) for line in lines.values())
    for line in lines.values():
        line.deficit += max(0, missing - 1) * quantum
