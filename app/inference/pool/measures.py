"""What each base will take on the device, known before it is loaded. Does not keep anybody waiting for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from app.inference.errors import ModelUnavailable
from app.inference.pool.lane import Lane
from app.inference.pool.seat import Seat
from app.inference.types import ModelCard

_LOG = logging.getLogger(__name__)


class Measures:
    """`estimate` reads a base's configuration, from the Hub where it is there: with one that does not answer it takes
    long. So the other bases are measured beside, and waited for `patience_s` seconds once.
    """

    def __init__(
        self, seats: Sequence[Seat], estimate: Callable[[Sequence[ModelCard]], int], patience_s: float
    ) -> None:
        self._seats, self._estimate, self._patience_s = tuple(seats), estimate, patience_s
        self._lane = Lane("measures")
        self._known: dict[Seat, int] = {}
        self._missing: set[Seat] = set()
        self._measuring: asyncio.Task[None] | None = None

    def of(self, seat: Seat) -> int:
        """Bytes of the base that is about to be loaded. Blocks. Raises ModelUnavailable."""
        if seat not in self._known:
            self._known[seat] = self._estimate(seat.cards)
            self._missing.discard(seat)
        return self._known[seat]

    async def all(self, like: int) -> tuple[int, ...]:
        """Bytes of every base. One that is not measured yet counts `like` so many; one that cannot be had, not."""
        if self._measuring is None:
            self._measuring = asyncio.create_task(self._measure())
            await asyncio.wait({self._measuring}, timeout=self._patience_s)
        return tuple(self._known.get(seat, like) for seat in self._seats if seat not in self._missing)

    async def _measure(self) -> None:
        """Each in turn. What cannot be had is not asked for again before it is to be loaded."""
        for seat in self._seats:
            try:
                await self._lane.run(partial(self.of, seat))
            except ModelUnavailable as error:
                self._missing.add(seat)
                _LOG.info("%s", error.sentence)
