"""A pool over scripted engines, used as the server uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from app.inference.pool import Options, Pool
from app.inference.types import Delta, Event, Residency
from tests.support.inference_core import KV, WEIGHTS, ScriptedEngine, Workshop, make_card, make_request

A, B, C = make_card("a"), make_card("b"), make_card("c")
QUICK = Options(tick_s=0.01, patience_s=5.0)
EACH = WEIGHTS + KV  # what one model takes on the pretend device


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


@asynccontextmanager
async def pool_of(workshop: Workshop, *cards: Any, options: Options = QUICK) -> AsyncIterator[Pool]:
    pool = Pool(cards or (A, B, C), workshop.tools(), options)
    await pool.start()
    try:
        yield pool
    finally:
        workshop.loading.set()
        for engine in workshop.engines.values():
            engine.gate.set()
        await pool.close()


async def events_of(pool: Pool, model: str, **changes: Any) -> list[Event]:
    return [event async for event in pool.generate(make_request(model, **changes))]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


def residency(pool: Pool) -> dict[str, Residency]:
    return {status.card.name: status.residency for status in pool.status()}


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def held(*names: str) -> Callable[[str, ScriptedEngine], None]:
    """Engines of these models do nothing until their gate is opened."""

    def prepare(name: str, engine: ScriptedEngine) -> None:
        if name in names:
            engine.gate.clear()

    return prepare
