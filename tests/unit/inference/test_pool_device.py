"""When the device is lost every model of it is: all are told, nobody comes in any more, and the process is to end."""

from __future__ import annotations

import asyncio

import pytest

from app.inference.errors import DeviceLost, ShuttingDown
from app.inference.pool import Pool
from tests.support.inference_core import Workshop, make_card
from tests.support.inference_pool import events_of, held, run, until


def test_all_models_of_a_lost_device_are_told_and_then_the_process_is_to_end() -> None:
    async def test() -> None:
        told: list[bool] = []
        workshop = Workshop(prepare=held("a", "b"))
        pool = Pool((make_card("a"), make_card("b")), workshop.tools(), on_lost=lambda: told.append(True))
        await pool.start()
        try:
            answers = [asyncio.create_task(events_of(pool, name)) for name in "ab"]
            await until(lambda: all(name in workshop.engines and workshop.engines[name].running for name in "ab"))
            workshop.engines["a"].broken = DeviceLost("The device failed.")
            workshop.engines["a"].gate.set()
            outcomes = await asyncio.gather(*answers, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [DeviceLost, DeviceLost]
            assert told == [True]
            with pytest.raises(ShuttingDown):
                await events_of(pool, "b")
        finally:
            await pool.close()

    run(test())
