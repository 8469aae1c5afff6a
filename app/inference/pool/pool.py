"""Models of this machine, and those of engines elsewhere, as one Service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from app.inference.errors import (
    DeviceLost,
    GenerationFailed,
    ModelUnavailable,
    NotSupported,
    ShuttingDown,
    UnknownModel,
)
from app.inference.loaded import LoadedModel
from app.inference.pool import intake
from app.inference.pool.afar import Afar
from app.inference.pool.channel import Channel
from app.inference.pool.mover import Mover
from app.inference.pool.options import Options
from app.inference.pool.seat import Seat
from app.inference.pool.tools import Engine, Tools
from app.inference.pool.worker import Worker
from app.inference.types import Event, GenerateRequest, ModelCard, ModelStatus, Residency

if TYPE_CHECKING:
    from app.inference import engine

STOP_S = 2.0  # for the step that is going on
INTAKE_THREADS = 2

_T = TypeVar("_T")


class Remote(Protocol):
    """An engine elsewhere that serves one model."""

    def generate(self, request: GenerateRequest) -> AsyncIterator[Event]: ...


class Pool:
    """The Service over engines, used from one asyncio loop: `start` before the first request, `close` at last."""

    def __init__(
        self,
        cards: Sequence[ModelCard],
        tools: Tools,
        options: Options | None = None,
        elsewhere: Callable[[ModelCard], Remote] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        """`elsewhere` makes what reaches a remote card's engine; without remote cards it is not needed.

        `on_lost` is called in the loop when the device computes no more in this process, and all have been told.
        """
        options = options or Options()
        self._cards = {card.name: card for card in cards}
        self._tools = tools
        self._seats = _seats(cards)
        self._elsewhere = {card.name: elsewhere(card) for card in cards if card.remote and elsewhere}
        self._afar = Afar()
        self._on_lost = on_lost
        self._worker = Worker(self._broken)
        self._mover = Mover(tuple(dict.fromkeys(self._seats.values())), tools, self._worker, options, self._lose)
        self._threads = ThreadPoolExecutor(INTAKE_THREADS, thread_name_prefix="intake")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    # Its life

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker.start()
        self._keep(self._mover.prepare())
        self._keep(self._mover.tidy())

    async def drain(self, seconds: float) -> None:
        """Take no new requests, and give those that run so long to be done. Whoever is left gets Interrupted."""
        self._closing = True
        self._mover.close()
        try:
            async with asyncio.timeout(seconds):
                while self._afar.under_way or any(seat.inside for seat in self._seats.values()):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self._afar.interrupt()
            for seat in dict.fromkeys(self._seats.values()):
                if seat.engine is not None and seat.state is Residency.RESIDENT:
                    self._worker.do(seat.engine, partial(seat.engine.fail_all, ShuttingDown()))

    async def close(self) -> None:
        """After `drain`; ends the threads."""
        await self.drain(0)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.to_thread(self._worker.stop, STOP_S)
        self._threads.shutdown(wait=False, cancel_futures=True)

    # The Service

    def cards(self) -> tuple[ModelCard, ...]:
        return tuple(self._cards.values())

    def status(self) -> tuple[ModelStatus, ...]:
        return tuple(self._status(card) for card in self._cards.values())

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Event]:
        card = self._card(request.model)
        if self._closing:
            raise ShuttingDown
        served = self._generate(card, request) if card.remote is None else self._from_afar(card, request)
        async with aclosing(cast(AsyncGenerator[Event, None], served)) as events:
            async for event in events:
                yield event

    async def count_tokens(self, model: str, text: str) -> tuple[int, ...]:
        seat = self._seat(model)
        async for _ in self._mover.enter(seat, model):
            pass
        try:
            return await self._in_thread(lambda: intake.token_ids(_there(seat.loaded), text))
        finally:
            self._mover.leave(seat)

    async def load(self, model: str) -> None:
        if self._card(model).remote is None:
            await self._mover.bring(self._seat(model))

    async def sleep(self, model: str) -> None:
        if self._card(model).remote is None:
            await self._mover.sleep(self._seat(model))

    async def unload(self, model: str) -> None:
        if self._card(model).remote is None:
            await self._mover.unload(self._seat(model))

    # Inside

    async def _generate(self, card: ModelCard, request: GenerateRequest) -> AsyncIterator[Event]:
        seat = self._seats[card.name]
        intake.check_sight(card, request)
        if request.prompt.images and not seat.open:  # who has to wait hears at once of one that cannot be read
            await self._in_thread(lambda: intake.check_pictures(request))
        async with aclosing(cast(AsyncGenerator[Event, None], self._mover.enter(seat, card.name))) as entering:
            async for loading in entering:
                yield loading
        channel = Channel()
        seat.channels.add(channel)
        try:
            loaded, at_work = _there(seat.loaded), _there(seat.engine)
            status = self._status(card)
            sequence = await self._in_thread(lambda: _sequence(status, request, loaded, channel))
            at_work.submit(sequence)
            self._worker.wake()
            _there(seat.engine if seat.engine is at_work else None)  # else nobody steps it any more
            try:
                while not channel.done:
                    for event in await channel.take():
                        yield event
            finally:
                if not channel.ended:
                    at_work.cancel(request.id)
                    self._worker.wake()
        finally:
            seat.channels.discard(channel)
            self._mover.leave(seat)

    def _from_afar(self, card: ModelCard, request: GenerateRequest) -> AsyncIterator[Event]:
        return self._afar.through(self._elsewhere[card.name].generate(request))

    def _card(self, model: str) -> ModelCard:
        if model not in self._cards:
            raise UnknownModel(model, self._cards)
        return self._cards[model]

    def _seat(self, model: str) -> Seat:
        """Raises UnknownModel, NotSupported."""
        if self._card(model).remote is not None:
            raise NotSupported(
                f"{model} is served elsewhere, and its tokenizer is not here.",
                hint="Ask the engine that serves it.",
                param="model",
            )
        return self._seats[model]

    def _status(self, card: ModelCard) -> ModelStatus:
        if card.remote is not None:
            return ModelStatus(card=card, residency=Residency.REMOTE)
        return self._seats[card.name].status(card, self._tools.device)

    def _broken(self, at_work: Engine, error: Exception) -> None:
        """In the worker's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._drop, at_work, error)

    def _drop(self, at_work: Engine, error: Exception) -> None:
        """Whoever is inside hears of it, the broken engine not being asked; nobody comes in any more."""
        if isinstance(error, DeviceLost):
            self._lose(error)
            return
        told = GenerationFailed(f"The engine failed: {type(error).__name__}: {error}", hint="Try again.")
        for seat in dict.fromkeys(self._seats.values()):
            if seat.engine is at_work:
                for channel in tuple(seat.channels):
                    channel.fail(told)
                self._keep(self._mover.drop(seat, told))

    def _lose(self, error: DeviceLost) -> None:
        """Every model of the device is gone with it, and cannot even be let go of."""
        self._closing = True
        self._mover.close(error)
        for seat in dict.fromkeys(self._seats.values()):
            for channel in tuple(seat.channels):
                channel.fail(error)
        if self._on_lost is not None:
            self._on_lost()

    def _keep(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        """Tokenizing a long text takes a while, and nobody's stream shall wait for it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _sequence(status: ModelStatus, request: GenerateRequest, loaded: LoadedModel, channel: Channel) -> engine.Sequence:
    """Raises BadRequest, PromptTooLong, BadImage."""
    from app.inference.engine import Sequence  # there by now, with the model

    card = status.card
    ids = intake.prompt_ids(loaded, card, request, status.context)
    return Sequence(
        id=request.id,
        client=request.client,
        scope=request.client,
        adapter=card.name if card.adapter else None,
        prompt_ids=ids,
        pixels=intake.pixels(loaded, request),
        sampling=intake.sampling(request, status.context - len(ids)),
        stop=intake.stops(card, request),
        sink=channel.put,
    )


def _there(value: _T | None) -> _T:
    """What a resident seat has. Raises ModelUnavailable where its engine broke a moment ago."""
    if value is None:
        raise ModelUnavailable("The model was taken away.", hint="Try again.")
    return value


def _seats(cards: Sequence[ModelCard]) -> dict[str, Seat]:
    """By the card's name; cards of one base share a seat."""
    local = [card for card in cards if card.remote is None]
    bases = dict.fromkeys(card.base for card in local)
    seats = {base: Seat(cards=tuple(card for card in local if card.base == base), used_at=0.0) for base in bases}
    return {card.name: seats[card.base] for card in local}
