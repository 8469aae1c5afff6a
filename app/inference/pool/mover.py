"""Who may go in to which model, and when models are moved: one move at a time, and nobody waits for it who need not.

What does not fit is made room for: first by unused models, least recently used first, then by waiting for one that is
in use to be done; nobody enters that one meanwhile. While it is waited for, other models come and go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from app.inference.errors import DeviceLost, InferenceError, ModelUnavailable, NoRoom, Overloaded, ShuttingDown
from app.inference.pool.moves import Moves
from app.inference.pool.options import FORGET, Options
from app.inference.pool.seat import Seat
from app.inference.pool.tools import Tools
from app.inference.pool.worker import Worker
from app.inference.types import Loading, Residency

LET_IN_S = 1.0  # for requests that waited for a model, and may enter, to do so


class Mover:
    """Used from one asyncio loop. `_moving` is held while something is moved, never while requests are waited for."""

    def __init__(
        self,
        seats: Sequence[Seat],
        tools: Tools,
        worker: Worker,
        options: Options,
        on_lost: Callable[[DeviceLost], None],
    ) -> None:
        """`on_lost` is called in the loop when a move finds that the device computes no more."""
        self._seats, self._options = tuple(seats), options
        self._moves = Moves(self._seats, tools, worker, options, on_lost)
        self._closed_because: InferenceError | None = None
        self._moving = asyncio.Lock()
        self._changed = asyncio.Event()
        self._bringing: dict[Seat, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # Going in and out

    async def enter(self, seat: Seat, model: str) -> AsyncIterator[Loading]:
        """Go in, once the seat is resident; while it is not, what is being done. Who was let in must `leave`.

        Raises ModelUnavailable when it cannot be brought in; the next caller tries again. Raises Overloaded at once
        where as many wait as its engine will take.
        """
        if not seat.open and seat.outside >= self._options.max_waiting:
            waiting = f"{seat.outside} requests are waiting for the model; the queue is full."
            raise Overloaded(waiting, retry_after=self._options.busy_retry_s)
        place = object()
        seat.line.append(place)
        try:
            told: Loading | None = None
            while not seat.open:
                bringing = self._bring_soon(seat)
                done, _ = await asyncio.wait({bringing}, timeout=self._options.tick_s)
                if done:
                    self._outcome(bringing)
                    continue
                what = seat.doing or "waiting for its turn"
                position = seat.line.index(place)
                loading = Loading(model=model, what=what, fraction=seat.fraction, position=position)
                if loading != told and not seat.open:
                    told = loading
                    yield loading
            seat.inside += 1
        finally:
            seat.line.remove(place)
            self._changed.set()

    def leave(self, seat: Seat) -> None:
        seat.inside -= 1
        seat.used_at = _now()
        self._changed.set()

    # What an owner may ask. A caller that goes away does not stop a move half-way

    async def bring(self, seat: Seat) -> None:
        """Returns when it is resident."""
        bringing = self._bring_soon(seat)
        await asyncio.wait({bringing})
        self._outcome(bringing)

    async def sleep(self, seat: Seat) -> None:
        await self._whole(self._sleep_when_empty(seat))

    async def unload(self, seat: Seat) -> None:
        await self._whole(self._let_go_when_empty(seat))

    async def drop(self, seat: Seat, error: InferenceError) -> None:
        """Let go of a seat whose engine is broken; nobody goes in any more. The next request brings it in anew."""
        broken = seat.engine
        with seat.shut():
            async with self._moving:
                if seat.engine is broken:
                    await self._moves.let_go(seat)
                    seat.error = error
        self._changed.set()

    async def prepare(self) -> None:
        """Load the libraries that models need, before the first of them is asked for."""
        with suppress(ModelUnavailable):  # logged already, and told to whoever asks for a model
            await self._moves.prepare()

    async def tidy(self) -> None:
        """For ever: what nobody used for a while goes to sleep, and later is let go."""
        while True:
            await asyncio.sleep(self._options.ttl_s / 8)
            for seat in self._seats:
                with suppress(ModelUnavailable, DeviceLost):  # logged already
                    await self._tidy(seat)

    async def _tidy(self, seat: Seat) -> None:
        async with self._moving:
            rested = _now() - seat.used_at if seat.unused else 0.0
            if seat.state is Residency.RESIDENT and rested > self._options.ttl_s:
                with seat.shut():
                    await self._moves.sleep(seat)
            elif seat.state is Residency.ASLEEP and rested > self._options.ttl_s * FORGET:
                await self._moves.let_go(seat)
        self._changed.set()

    def close(self, because: InferenceError | None = None) -> None:
        """Begin nothing more; what is being loaded is given up at its next report of progress.

        `because`: what those hear who wait for a model; ShuttingDown where nothing is said. The first reason counts.
        """
        if not self._moves.closing:
            self._closed_because = because
        self._moves.closing = True
        for task in self._bringing.values():
            task.cancel()

    # Inside

    def _bring_soon(self, seat: Seat) -> asyncio.Task[None]:
        if self._moves.closing:
            raise self._closed_because or ShuttingDown
        task = self._bringing.get(seat)
        if task is None or task.done():
            task = self._bringing[seat] = asyncio.create_task(self._bring(seat))
            task.add_done_callback(_looked_at)
        return task

    def _outcome(self, bringing: asyncio.Task[None]) -> None:
        """Raises what it ended with."""
        if bringing.cancelled():
            raise self._closed_because or ShuttingDown
        bringing.result()

    async def _bring(self, seat: Seat) -> None:
        await self._until(lambda: not seat.leaving, None)  # whoever moves it is to be done first
        in_the_way: Seat | None = None
        try:
            while True:
                async with self._out_of_the_way(in_the_way), self._moving:
                    if in_the_way is not None:
                        await self._moves.put_away(in_the_way)
                    if seat.state is Residency.RESIDENT:
                        return
                    in_the_way = await self._moves.bring(seat)
                if in_the_way is None:
                    seat.used_at = _now()
                    return
        except NoRoom as error:
            async with self._moving:
                if seat.state is Residency.LOADING:  # it was waited for in vain
                    await self._moves.refuse(seat, error)
            raise
        finally:
            self._changed.set()

    async def _sleep_when_empty(self, seat: Seat) -> None:
        await self._brought(seat)
        async with self._emptied(seat, None), self._moving:
            if seat.state is Residency.RESIDENT:
                await self._moves.sleep(seat)

    async def _let_go_when_empty(self, seat: Seat) -> None:
        await self._brought(seat)
        async with self._emptied(seat, None), self._moving:
            await self._moves.let_go(seat)

    async def _brought(self, seat: Seat) -> None:
        """Who waits for it that is on its way shall find it."""
        if (bringing := self._bringing.get(seat)) is not None:
            await asyncio.wait({bringing})

    async def _whole(self, move: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(move)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    @asynccontextmanager
    async def _out_of_the_way(self, seat: Seat | None) -> AsyncIterator[None]:
        """`_emptied`, for as long as another model can wait; of none nothing is asked."""
        if seat is None:
            yield
            return
        async with self._emptied(seat, self._options.patience_s):
            yield

    @asynccontextmanager
    async def _emptied(self, seat: Seat, patience_s: float | None) -> AsyncIterator[None]:
        """Let in who may enter already, then nobody, and wait until all are out. Raises NoRoom."""
        if seat.open:
            await self._until(lambda: not seat.outside, LET_IN_S)
        try:
            with seat.shut():
                if not await self._until(lambda: not seat.inside, patience_s):
                    retry = self._options.busy_retry_s
                    raise NoRoom(f"{seat.title} has the room and is in use.", hint=f"Try again in {retry} s.")
                yield
        finally:
            self._changed.set()

    async def _until(self, holds: Callable[[], bool], patience_s: float | None) -> bool:
        """Whether it came about in time."""
        try:
            async with asyncio.timeout(patience_s):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()


def _looked_at(task: asyncio.Task[None]) -> None:
    """An error that nobody waits for any more is in the seat's status."""
    if not task.cancelled():
        task.exception()
