"""Models whose weights are elsewhere, as the pool has them beside its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from app.inference.errors import Interrupted, NotSupported, UnknownModel
from app.inference.pool import Pool
from app.inference.types import Delta, Endpoint, Event, Queued, Residency
from tests.support.inference_core import Workshop, make_card, make_request
from tests.support.inference_pool import QUICK, A, events_of, run, text_of, until

FAR = make_card("far", remote=Endpoint(url="http://127.0.0.1:1", protocol="openai", model="m"))


@dataclass
class Elsewhere:
    """Says two things, and between them waits until `go_on` is set."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: bool = False
    closed: bool = False

    async def generate(self, request: object) -> AsyncIterator[Event]:
        try:
            yield Queued(position=0)
            yield Delta(text="from ", tokens=())
            self.waiting = True
            await self.go_on.wait()
            yield Delta(text="afar", tokens=())
        finally:
            self.closed = True


@asynccontextmanager
async def pool_with(elsewhere: Elsewhere) -> AsyncIterator[Pool]:
    pool = Pool((A, FAR), Workshop().tools(), QUICK, lambda _: elsewhere)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def test_a_remote_card_is_served_by_its_endpoint() -> None:
    async def test() -> None:
        elsewhere = Elsewhere()
        elsewhere.go_on.set()
        async with pool_with(elsewhere) as pool:
            assert text_of(await events_of(pool, "far")) == "from afar"
            assert pool.status()[1].residency is Residency.REMOTE

    run(test())


def test_who_leaves_closes_the_request_there() -> None:
    async def test() -> None:
        elsewhere = Elsewhere()
        async with pool_with(elsewhere) as pool:
            async with aclosing(cast(Any, pool.generate(make_request("far")))) as events:
                await anext(events)
            assert elsewhere.closed

    run(test())


def test_the_end_lets_an_answer_from_elsewhere_be_done() -> None:
    async def test() -> None:
        elsewhere = Elsewhere()
        async with pool_with(elsewhere) as pool:
            answer = asyncio.create_task(events_of(pool, "far"))
            await until(lambda: elsewhere.waiting)
            draining = asyncio.create_task(pool.drain(5))
            await asyncio.sleep(0.05)
            assert not draining.done()
            elsewhere.go_on.set()
            assert text_of(await answer) == "from afar"
            await draining

    run(test())


def test_the_end_interrupts_an_answer_from_elsewhere_of_which_nothing_comes() -> None:
    async def test() -> None:
        elsewhere = Elsewhere()
        async with pool_with(elsewhere) as pool:
            answer = asyncio.create_task(events_of(pool, "far"))
            await until(lambda: elsewhere.waiting)
            await pool.drain(0.1)
            with pytest.raises(Interrupted, match="shutting down"):
                await answer
            assert elsewhere.closed

    run(test())


def test_the_end_interrupts_an_answer_from_elsewhere_that_nobody_reads() -> None:
    async def test() -> None:
        elsewhere = Elsewhere()
        async with pool_with(elsewhere) as pool:
            async with aclosing(cast(Any, pool.generate(make_request("far")))) as events:
                await anext(events)
                await pool.drain(0.1)
                with pytest.raises(Interrupted):
                    await anext(events)
            assert elsewhere.closed

    run(test())


def test_tokens_are_not_counted_without_a_tokenizer() -> None:
    async def test() -> None:
        async with pool_with(Elsewhere()) as pool:
            with pytest.raises(NotSupported, match="far is served elsewhere"):
                await pool.count_tokens("far", "hi")
            with pytest.raises(UnknownModel, match="a, far"):
                await pool.count_tokens("z", "hi")

    run(test())
