"""Answers of engines elsewhere on their way through here: counted, and interrupted at the end. Knows no protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from app.inference.errors import ShuttingDown
from app.inference.types import Event


class Afar:
    """Used from one asyncio loop."""

    def __init__(self) -> None:
        self.under_way = 0
        self._interrupted = False
        self._waits: set[asyncio.Timeout] = set()

    async def through(self, source: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
        """The events of `source`. Raises ShuttingDown once `interrupt` was called."""
        self.under_way += 1
        try:
            async with aclosing(cast(AsyncGenerator[Event, None], source)) as events:
                while (event := await self._next(events)) is not None:
                    yield event
        finally:
            self.under_way -= 1

    def interrupt(self) -> None:
        """End every answer under way, also one of which nothing comes."""
        if self._interrupted:
            return
        self._interrupted = True
        for wait in tuple(self._waits):
            wait.reschedule(0)  # the loop's clock is past that

    async def _next(self, events: AsyncGenerator[Event, None]) -> Event | None:
        if self._interrupted:
            raise ShuttingDown
        try:
            async with asyncio.timeout(None) as wait:
                self._waits.add(wait)
                try:
                    return await anext(events, None)
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            if wait.expired():
                raise ShuttingDown from None
            raise
