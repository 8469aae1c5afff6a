"""The events of a request, waited for with deadlines and for as long as its client stays. Knows no protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

from starlette.types import Message, Receive, Send

from app.inference.errors import Interrupted
from app.inference.types import Event, Finished, Loading

KEEP_ALIVE_S = 5.0  # clients give up after some seconds without a byte; the client of TGI after 10
OPENING_S = 3.0  # an error that comes by then gets a status of its own
T = TypeVar("T")


class ClientLeft(Exception):
    """Nobody waits for the answer any more. No InferenceError: there is no one to tell."""


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


class Events:
    """The events of one request. Leaving the context cancels what is not finished."""

    def __init__(self, source: AsyncIterator[Event]) -> None:
        self._source = source
        self._coming: asyncio.Task[Event] | None = None

    async def __aenter__(self) -> Events:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait({self._coming})
        if isinstance(self._source, _Closable):
            await self._source.aclose()

    async def within(self, seconds: float | None) -> Event | None:
        """The next event, or None when none came in time. Raises InferenceError."""
        if self._coming is None:
            self._coming = asyncio.create_task(self._next())
        done, _ = await asyncio.wait({self._coming}, timeout=seconds)
        if not done:
            return None
        coming, self._coming = self._coming, None
        return coming.result()

    async def opening(self) -> list[Event]:
        """The first events, up to the one that says the request is accepted, or what came of them in OPENING_S."""
        clock = asyncio.get_running_loop().time
        seen, end = [], clock() + OPENING_S
        while (event := await self.within(max(0.0, end - clock()))) is not None:
            seen.append(event)
            if not isinstance(event, Loading):
                break
        return seen

    async def rest(self, seen: list[Event]) -> AsyncIterator[Event]:
        """`seen`, then what follows, up to Finished. Raises InferenceError."""
        for event in seen:
            yield event
            if isinstance(event, Finished):
                return
        while True:
            event = await (self._coming or self._next())
            self._coming = None
            yield event
            if isinstance(event, Finished):
                return

    async def _next(self) -> Event:
        try:
            return await anext(self._source)
        except StopAsyncIteration as end:
            raise Interrupted("The answer broke off before it was finished.") from end


@asynccontextmanager
async def kept_alive(send: Send, word: bytes) -> AsyncIterator[Send]:
    """A way to send by which `word` is sent whenever nothing else was for KEEP_ALIVE_S."""
    clock = asyncio.get_running_loop().time
    last = clock()

    async def told(message: Message) -> None:
        nonlocal last
        await send(message)
        last = clock()
        await asyncio.sleep(0)  # what is ready at once must not keep others, or the news that the client left, waiting

    async def remind() -> None:
        while True:
            await asyncio.sleep(last + KEEP_ALIVE_S - clock())
            if clock() - last >= KEEP_ALIVE_S:
                await told({"type": "http.response.body", "body": word, "more_body": True})

    reminding = asyncio.create_task(remind())
    try:
        yield told
    finally:
        reminding.cancel()
        await asyncio.wait({reminding})


async def attended(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client leaves. Raises ClientLeft."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeft
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
