"""Which answers a page follows, and that it has turned away from them. Knows no components."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

LEAVE_S = 3.0  # a page is told something once in half a second; one that is told nothing is not waited for
CLAIM_S = 60.0  # a page that asked follows once it has heard so; one that has not by then was closed


@dataclass(slots=True, eq=False)
class Watch:
    """`left`: the page has turned to something else. `over`: nothing more of the answer reaches it."""

    left: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Watches:
    """Of one room, by page. Belongs to one event loop."""

    _of: dict[str, list[Watch]] = field(default_factory=dict)
    _asked: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)

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

    def ask(self, page: str, give_up: Callable[[], Awaitable[None]]) -> None:
        """The page asked for an answer that it will follow. `give_up` is called where it never does."""
        self._asked[page] = asyncio.create_task(self._await_claim(page, give_up))

    def claim(self, page: str) -> bool:
        """Whether the page follows what it asked for itself."""
        waiting = self._asked.pop(page, None)
        return waiting is not None and waiting.cancel()

    def end(self, page: str) -> None:
        """What the page followed has come to its end, and the page is still there for it."""
        self._ended.add(page)

    def settle(self, page: str) -> bool:
        """Whether the page is to be told the whole of what it followed; once."""
        due = page in self._ended
        self._ended.discard(page)
        return due

    async def leave(self, page: str) -> None:
        """The page turns away. Returns when what it followed reaches it no more, so that what it is told next stays."""
        self.claim(page)
        self.settle(page)
        watches = tuple(self._of.get(page, ()))
        for watch in watches:
            watch.left = True
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                for watch in watches:
                    await watch.over.wait()

    async def _await_claim(self, page: str, give_up: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(CLAIM_S)
        del self._asked[page]
        await give_up()
