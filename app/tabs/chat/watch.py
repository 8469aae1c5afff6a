"""Which answers a page follows, and that it has turned away from them. Knows no components."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

LEAVE_S = 3.0  # a page is told something once in half a second; one that is told nothing is not waited for


@dataclass(slots=True, eq=False)
class Watch:
    """`left`: the page has turned to something else. `over`: nothing more of the answer reaches it."""

    left: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Watches:
    """Of one room, by page. Belongs to one event loop."""

    _of: dict[str, list[Watch]] = field(default_factory=dict)

    def following(self, page: str) -> bool:
        return page in self._of

    @contextmanager
    def begin(self, page: str) -> Iterator[Watch]:
        """The page follows an answer meanwhile."""
        watch = Watch()
        self._of.setdefault(page, []).append(watch)
        try:
            yield watch
        finally:
            watch.over.set()
            self._of[page].remove(watch)
            if not self._of[page]:
                del self._of[page]

    async def leave(self, page: str) -> None:
        """The page turns away. Returns when what it followed reaches it no more, so that what it is told next stays."""
        watches = tuple(self._of.get(page, ()))
        for watch in watches:
            watch.left = True
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                for watch in watches:
                    await watch.over.wait()
