"""The moves of one model at a time: in, to sleep, awake, out; and the room and the lease that each of them takes.

Nothing here waits for requests to end. Whoever calls sees to it that one move is under way at a time, and that nobody
is in a model that goes. On a device with memory of its own models go to sleep in the host's, and are let go from there
when that is short. Where device and host share memory, sleep frees the KV cache alone, so models are let go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from app.inference.errors import (
    DeviceLost,
    InferenceError,
    ModelUnavailable,
    NoRoom,
    OutOfMemory,
    ShuttingDown,
)
from app.inference.pool.lane import Lane
from app.inference.pool.measures import Measures
from app.inference.pool.options import Options
from app.inference.pool.seat import Seat
from app.inference.pool.sizing import in_gib, kv_share
from app.inference.pool.tools import Tools
from app.inference.pool.worker import Worker
from app.inference.types import Residency


class Moves:
    """What blocks runs in a lane of its own, so that nobody's tokens wait for it.

    `on_lost` is called in the loop when a move finds that the device computes no more. Every move may raise DeviceLost.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        tools: Tools,
        worker: Worker,
        options: Options,
        on_lost: Callable[[DeviceLost], None],
    ) -> None:
        self._seats, self._tools, self._worker = tuple(seats), tools, worker
        self._lane = Lane(on_lost=on_lost)
        self._measures = Measures(self._seats, tools.estimate, options.measure_s)
        self.closing = False  # what is being loaded is given up at its next report of progress

    async def prepare(self) -> None:
        """Load the libraries that models need. Raises ModelUnavailable."""
        await self._lane.run(self._tools.prepare)

    async def bring(self, seat: Seat) -> Seat | None:
        """Make it resident; or, where a model in use has the room that it needs, return that one.

        Raises ModelUnavailable, which is in the seat's status then.
        """
        seat.begin("getting ready")
        try:
            busy = await (self._load(seat) if seat.engine is None else self._wake(seat))
        except InferenceError as error:
            await self.refuse(seat, error)
            raise
        if busy is not None:
            seat.doing = f"waiting for {busy.title} to be done"
            return busy
        seat.arrive()
        await self._tell()
        return None

    async def refuse(self, seat: Seat, error: InferenceError) -> None:
        """It did not come. One that sleeps, and found no room, sleeps on."""
        if isinstance(error, NoRoom) and seat.engine is not None:
            seat.state, seat.error, seat.doing, seat.promised = Residency.ASLEEP, error, "", 0
            await self._lane.run(self._tools.release)
            await self._tell()
            return
        try:
            if not isinstance(error, DeviceLost):  # what is on a lost device cannot be let go of
                await self.let_go(seat)
        finally:
            seat.clear(Residency.FAILED, error)

    async def put_away(self, seat: Seat) -> None:
        """Have an empty seat give its room to others."""
        if not seat.nbytes:
            return
        can_sleep = self._tools.park and seat.state is Residency.RESIDENT
        await (self.sleep(seat) if can_sleep else self.let_go(seat))

    async def sleep(self, seat: Seat) -> None:
        """An empty seat's. Without room in the host's memory it is let go."""
        engine = seat.engine
        if engine is None:
            return
        if self._tools.park is not None and not await self._host_has(seat.weight_bytes):
            await self.let_go(seat)
            return
        try:
            await self._lane.run(partial(self._worker.remove, engine))
            await self._lane.run(engine.suspend)
            await self._park(seat)
        except ModelUnavailable:  # logged already
            await self.let_go(seat)
            return
        seat.state = Residency.ASLEEP
        await self._lane.run(self._tools.release)
        await self._tell()

    async def _park(self, seat: Seat) -> None:
        """Its weights to the host's memory, where they are not there already and the device has its own."""
        if self._tools.park is not None and seat.loaded is not None and seat.parked is None:
            seat.parked = await self._lane.run(partial(self._tools.park, seat.loaded))

    async def let_go(self, seat: Seat) -> None:
        """An empty seat's, or a broken one's."""
        if (engine := seat.engine) is not None:
            await self._lane.run(partial(self._worker.remove, engine))
        seat.clear()
        await self._lane.run(self._tools.release)
        await self._tell()

    # In

    async def _load(self, seat: Seat) -> Seat | None:
        tools = self._tools
        await self.prepare()
        need = await self._lane.run(partial(self._measures.of, seat))
        bases = await self._measures.all(need)
        kv_bytes = kv_share(need, bases, await self._budget(), self._families)
        leased = need + kv_bytes
        if (busy := await self._lease(seat, leased)) is not None:
            return busy

        def progress(what: str, fraction: float) -> None:
            if self.closing:
                raise ShuttingDown
            seat.doing, seat.fraction = what, fraction

        loaded = await self._lane.run(partial(tools.load, seat.cards, progress))
        seat.loaded, seat.weight_bytes = loaded, loaded.nbytes
        kv_bytes = max(0, min(kv_bytes, leased - loaded.nbytes))
        engine = await self._lane.run(partial(tools.make_engine, loaded, kv_bytes))
        seat.engine, seat.kv_bytes, seat.kv_tokens = engine, engine.stats.kv_bytes, engine.stats.kv_tokens
        self._worker.add(engine)
        return None

    async def _wake(self, seat: Seat) -> Seat | None:
        engine = seat.engine
        if engine is None:
            raise ModelUnavailable(f"{seat.title} was lost while it slept.", hint="Try again.")
        if (busy := await self._lease(seat, seat.weight_bytes + seat.kv_bytes)) is not None:
            return busy
        seat.doing = "waking up"
        try:
            if seat.parked is not None:
                await self._lane.run(seat.parked.restore)
                seat.parked = None
            await self._lane.run(engine.resume)
        except OutOfMemory as full:  # more was in use than the ledger knows of
            await self._park(seat)
            raise NoRoom(f"{seat.title} sleeps on. {full.message}", hint="Stop what else uses the device.") from full
        self._worker.add(engine)
        return None

    # Room

    async def _lease(self, seat: Seat, need: int) -> Seat | None:
        """Have `need` bytes written down as the core's before any is taken; or the model in use that has them.

        Written first, then looked at once more: of two that want the same bytes, each writes before it looks, so at
        least one sees the other. Raises NoRoom.
        """
        while True:
            if (busy := await self._make_room(seat, need)) is not None:
                return busy
            seat.promised = need
            await self._tell()
            if self._held <= await self._budget():
                return None
            seat.promised = 0
            await self._tell()

    async def _make_room(self, seat: Seat, need: int) -> Seat | None:
        """Put unused models away until there is room; the one in use that is in the way. Raises NoRoom."""
        where, most = self._tools.device, await self._budget()
        if need > most:
            raise NoRoom(
                f"{seat.title} needs {in_gib(need)} on {where}; there are {in_gib(most)} in all.",
                hint="Take a smaller precision, or stop what else uses the device.",
            )
        while self._held - seat.nbytes + need > await self._budget():
            victim = self._victim(seat)
            if victim is None:
                left = max(0, await self._budget() - self._held + seat.nbytes)
                raise NoRoom(
                    f"{seat.title} needs {in_gib(need)} on {where}; {in_gib(left)} are free.",
                    hint="Stop what else uses the device.",
                )
            if not victim.unused:
                return victim
            with victim.shut():
                await self.put_away(victim)
        return None

    def _victim(self, seat: Seat) -> Seat | None:
        """Unused ones before those in use, least recently used first."""
        others = [other for other in self._seats if other is not seat and other.nbytes]
        return min(others, key=lambda other: (not other.unused, other.used_at), default=None)

    async def _host_has(self, need: int) -> bool:
        """Whether `need` bytes of host memory can be had, if need be from others that sleep there."""
        while await self._lane.run(self._tools.ledger.host_room) < need:
            asleep = [seat for seat in self._seats if seat.parked and seat.unused and not seat.leaving]
            oldest = min(asleep, key=lambda seat: seat.used_at, default=None)
            if oldest is None:
                return False
            await self.let_go(oldest)
        return True

    @property
    def _families(self) -> int:
        return len({seat.cards[0].family for seat in self._seats})

    @property
    def _held(self) -> int:
        """What is the core's, with what it was promised and has not taken yet."""
        return sum(seat.nbytes for seat in self._seats)

    async def _tell(self) -> None:
        await self._lane.run(partial(self._tools.ledger.hold, self._held))

    async def _budget(self) -> int:
        taken = sum(seat.taken for seat in self._seats)
        return await self._lane.run(partial(self._tools.ledger.budget, taken))
