"""Who is resident: models are brought in, put to sleep, woken and let go, one move at a time. Knows no requests.

What does not fit is made room for: first by unused models, least recently used first, then by waiting for one that is
in use to be done; nobody enters that one meanwhile. On a device with memory of its own they go to sleep in the host's,
and are let go from there when that is short. Where device and host share memory, sleep frees the KV cache alone, so
models are let go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from app.inference.errors import InferenceError, Interrupted, ModelUnavailable, NoRoom
from app.inference.pool.lane import Lane
from app.inference.pool.options import FORGET, Options
from app.inference.pool.seat import Seat
from app.inference.pool.sizing import in_gib, kv_share
from app.inference.pool.tools import Tools
from app.inference.pool.worker import Worker
from app.inference.types import Loading, Residency

LET_IN_S = 1.0  # for requests that waited for a model, and may enter, to do so

_LOG = logging.getLogger(__name__)


class Mover:
    """Used from one asyncio loop. What blocks runs in a lane of its own, so that nobody's tokens wait for it."""

    def __init__(self, seats: Sequence[Seat], tools: Tools, worker: Worker, options: Options) -> None:
        self._seats, self._tools, self._worker, self._options = tuple(seats), tools, worker, options
        self._lane = Lane()
        self._moving = asyncio.Lock()
        self._changed = asyncio.Event()
        self._bringing: dict[Seat, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._estimates: dict[Seat, int] = {}
        self._missing: set[Seat] = set()
        self._closing = False

    # Going in and out

    async def enter(self, seat: Seat, model: str) -> AsyncIterator[Loading]:
        """Go in, once the seat is resident; while it is not, what is being done. Who was let in must `leave`.

        Raises ModelUnavailable when it cannot be brought in; the next caller tries again.
        """
        seat.outside += 1
        try:
            told: Loading | None = None
            while not seat.open:
                bringing = self._bring_soon(seat)
                done, _ = await asyncio.wait({bringing}, timeout=self._options.tick_s)
                if done:
                    _outcome(bringing)
                    continue
                what = seat.doing or "waiting for its turn"
                loading = Loading(model=model, what=what, fraction=seat.fraction)
                if loading != told and not seat.open:
                    told = loading
                    yield loading
            seat.inside += 1
        finally:
            seat.outside -= 1
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
        _outcome(bringing)

    async def sleep(self, seat: Seat) -> None:
        await self._whole(self._sleep_when_empty(seat))

    async def unload(self, seat: Seat) -> None:
        await self._whole(self._let_go_when_empty(seat))

    async def drop(self, seat: Seat, error: InferenceError) -> None:
        """Let go of a seat whose engine is broken. The next request brings it in anew."""
        async with self._moving:
            broken = seat.engine
            await self._let_go(seat)
            seat.error = error
        if broken is not None:
            broken.fail_all(error)  # whoever came in after the failure

    async def prepare(self) -> None:
        """Load the libraries that models need, before the first of them is asked for."""
        with suppress(ModelUnavailable):  # logged already, and told to whoever asks for a model
            await self._lane.run(self._tools.prepare)

    async def tidy(self) -> None:
        """For ever: what nobody used for a while goes to sleep, and later is let go."""
        while True:
            await asyncio.sleep(self._options.ttl_s / 8)
            for seat in self._seats:
                with suppress(ModelUnavailable):  # logged already
                    await self._tidy(seat)

    async def _tidy(self, seat: Seat) -> None:
        async with self._moving:
            rested = _now() - seat.used_at if seat.unused else 0.0
            if seat.state is Residency.RESIDENT and rested > self._options.ttl_s:
                async with self._emptied(seat, None):
                    await self._sleep(seat)
            elif seat.state is Residency.ASLEEP and rested > self._options.ttl_s * FORGET:
                await self._let_go(seat)

    def close(self) -> None:
        """Begin nothing more; what is being loaded is given up at its next report of progress."""
        self._closing = True
        for task in self._bringing.values():
            task.cancel()

    # Moves. Each is called with the lock held

    def _bring_soon(self, seat: Seat) -> asyncio.Task[None]:
        if self._closing:
            raise _shutting_down()
        task = self._bringing.get(seat)
        if task is None or task.done():
            task = self._bringing[seat] = asyncio.create_task(self._bring(seat))
            task.add_done_callback(_looked_at)
        return task

    async def _bring(self, seat: Seat) -> None:
        async with self._moving:
            if seat.state is Residency.RESIDENT:
                return
            asleep = seat.state is Residency.ASLEEP
            seat.state, seat.error, seat.doing, seat.fraction = Residency.LOADING, None, "getting ready", 0.0
            try:
                await (self._wake(seat) if asleep else self._load(seat))
            except InferenceError as error:
                await self._let_go(seat)
                seat.state, seat.error = Residency.FAILED, error
                raise
            seat.state, seat.doing, seat.fraction, seat.used_at = Residency.RESIDENT, "", 1.0, _now()
            await self._tell()

    async def _load(self, seat: Seat) -> None:
        tools = self._tools
        await self._lane.run(tools.prepare)
        estimates = await self._lane.run(self._estimate)
        if seat not in estimates:
            estimates[seat] = self._estimates[seat] = await self._lane.run(partial(tools.estimate, seat.cards))
        need = estimates[seat]
        kv_bytes = kv_share(need, tuple(estimates.values()), await self._budget())
        await self._make_room(seat, need + kv_bytes)

        def progress(what: str, fraction: float) -> None:
            if self._closing:
                raise _shutting_down()
            seat.doing, seat.fraction = what, fraction

        loaded = await self._lane.run(partial(tools.load, seat.cards, progress))
        seat.loaded, seat.weight_bytes = loaded, loaded.nbytes
        engine = await self._lane.run(partial(tools.make_engine, loaded, kv_bytes))
        seat.engine, seat.kv_bytes = engine, engine.stats.kv_bytes
        self._worker.add(engine)

    async def _wake(self, seat: Seat) -> None:
        engine, parked = seat.engine, seat.parked
        if engine is None:
            raise ModelUnavailable(f"{seat.title} was lost while it slept.", hint="Try again.")
        await self._make_room(seat, (parked.nbytes if parked else 0) + seat.kv_bytes)
        seat.doing = "waking up"
        if parked is not None:
            await self._lane.run(parked.restore)
            seat.parked = None
        await self._lane.run(engine.resume)
        self._worker.add(engine)

    async def _sleep(self, seat: Seat) -> None:
        """An empty seat's. Without room in the host's memory it is let go."""
        engine, loaded, park = seat.engine, seat.loaded, self._tools.park
        if engine is None or loaded is None:
            return
        if park is not None and not await self._host_has(seat.weight_bytes):
            await self._let_go(seat)
            return
        try:
            await self._lane.run(partial(self._worker.remove, engine))
            await self._lane.run(engine.suspend)
            if park is not None:
                seat.parked = await self._lane.run(partial(park, loaded))
        except ModelUnavailable:  # logged already
            await self._let_go(seat)
            return
        seat.state = Residency.ASLEEP
        await self._lane.run(self._tools.release)
        await self._tell()

    async def _let_go(self, seat: Seat) -> None:
        """An empty seat's, or a broken one's."""
        if (engine := seat.engine) is not None:
            await self._lane.run(partial(self._worker.remove, engine))
        seat.clear()
        await self._lane.run(self._tools.release)
        await self._tell()

    async def _sleep_when_empty(self, seat: Seat) -> None:
        async with self._moving:
            if seat.state is Residency.RESIDENT:
                async with self._emptied(seat, None):
                    await self._sleep(seat)

    async def _let_go_when_empty(self, seat: Seat) -> None:
        async with self._moving, self._emptied(seat, None):
            await self._let_go(seat)

    async def _whole(self, move: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(move)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    # Room

    async def _make_room(self, seat: Seat, need: int) -> None:
        """Raises NoRoom when `need` bytes cannot be had, with the numbers."""
        where, most = self._tools.device, await self._budget()
        if need > most:
            raise NoRoom(
                f"{seat.title} needs {in_gib(need)} on {where}; there are {in_gib(most)} in all.",
                hint="Take a smaller precision, or stop what else uses the device.",
            )
        while self._held + need > await self._budget():
            victim = self._victim(seat)
            if victim is None:
                left = max(0, await self._budget() - self._held)
                raise NoRoom(
                    f"{seat.title} needs {in_gib(need)} on {where}; {in_gib(left)} are free.",
                    hint="Stop what else uses the device.",
                )
            async with self._emptied(victim, self._options.patience_s):
                can_sleep = self._tools.park and victim.state is Residency.RESIDENT
                await (self._sleep(victim) if can_sleep else self._let_go(victim))

    def _victim(self, seat: Seat) -> Seat | None:
        """Unused ones before those in use, least recently used first."""
        others = [other for other in self._seats if other is not seat and other.nbytes]
        return min(others, key=lambda other: (not other.unused, other.used_at), default=None)

    @asynccontextmanager
    async def _emptied(self, seat: Seat, patience_s: float | None) -> AsyncIterator[None]:
        """Let in who may enter already, then nobody, and wait until all are out. Raises NoRoom."""
        if seat.open:
            await self._until(lambda: not seat.outside, LET_IN_S)
        seat.leaving = True
        try:
            if not await self._until(lambda: not seat.inside, patience_s):
                retry = self._options.busy_retry_s
                raise NoRoom(f"{seat.title} has the room and is in use.", hint=f"Try again in {retry} s.")
            yield
        finally:
            seat.leaving = False
            self._changed.set()

    async def _host_has(self, need: int) -> bool:
        """Whether `need` bytes of host memory can be had, if need be from others that sleep there."""
        while await self._lane.run(self._tools.ledger.host_room) < need:
            asleep = [seat for seat in self._seats if seat.parked and seat.unused and not seat.leaving]
            oldest = min(asleep, key=lambda seat: seat.used_at, default=None)
            if oldest is None:
                return False
            await self._let_go(oldest)
        return True

    @property
    def _held(self) -> int:
        return sum(seat.nbytes for seat in self._seats)

    async def _tell(self) -> None:
        await self._lane.run(partial(self._tools.ledger.hold, self._held))
        self._changed.set()

    async def _budget(self) -> int:
        return await self._lane.run(partial(self._tools.ledger.budget, self._held))

    def _estimate(self) -> dict[Seat, int]:
        """What each base takes on the device. One whose weights are not here is not counted, and looked for once."""
        for seat in self._seats:
            if seat not in self._estimates and seat not in self._missing:
                try:
                    self._estimates[seat] = self._tools.estimate(seat.cards)
                except ModelUnavailable as error:
                    self._missing.add(seat)
                    _LOG.info("%s", error.sentence)
        return dict(self._estimates)

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


def _outcome(task: asyncio.Task[None]) -> None:
    """Raises what the task ended with."""
    if task.cancelled():
        raise _shutting_down()
    task.result()


def _looked_at(task: asyncio.Task[None]) -> None:
    """An error that nobody waits for any more is in the seat's status."""
    if not task.cancelled():
        task.exception()


def _shutting_down() -> Interrupted:
    return Interrupted("The core is shutting down.", hint="Try again when it is back.")
