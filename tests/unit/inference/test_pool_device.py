"""When the device is lost every model of it is: all are told, nobody comes in any more, and the process is to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from app.inference.errors import DeviceLost, ShuttingDown, WeightsCorrupt
from app.inference.pool import Pool
from tests.support.inference_core import Workshop, make_card
from tests.support.inference_pool import events_of, held, run, until

STICKY = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported.\n"


def lost(*_arguments: Any) -> Any:
    raise torch.AcceleratorError(STICKY)


def misread(*_arguments: Any) -> Any:
    """As a loader that takes whatever fails for the fault of the file."""
    try:
        lost()
    except RuntimeError as error:
        raise WeightsCorrupt("The file cannot be read.") from error


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


def test_who_waits_for_another_model_hears_of_the_loss_too() -> None:
    async def test() -> None:
        workshop = Workshop(prepare=held("a"))
        pool = Pool((make_card("a"), make_card("b")), workshop.tools())
        await pool.start()
        try:
            running = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            workshop.loading.clear()
            waiting = [asyncio.create_task(events_of(pool, "b")), asyncio.create_task(pool.load("b"))]
            await until(lambda: len(workshop.loads) == 2)
            workshop.engines["a"].broken = DeviceLost("The device failed.")
            workshop.engines["a"].gate.set()
            outcomes = await asyncio.gather(running, *waiting, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [DeviceLost] * 3
        finally:
            workshop.loading.set()
            await pool.close()

    run(test())


@pytest.mark.parametrize("load", [lost, misread])
def test_a_load_that_finds_the_device_lost_says_so_and_the_process_is_to_end(load: Callable[..., Any]) -> None:
    async def test() -> None:
        told: list[bool] = []
        workshop = Workshop(prepare=held("a"))
        tools = replace(
            workshop.tools(), load=lambda *asked: (load if asked[0][0].name == "b" else workshop.load)(*asked)
        )
        pool = Pool((make_card("a"), make_card("b")), tools, on_lost=lambda: told.append(True))
        await pool.start()
        try:
            running = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            outcomes = await asyncio.gather(running, events_of(pool, "b"), return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [DeviceLost, DeviceLost]
            assert "illegal memory access" in str(outcomes[1])
            assert "asynchronously" not in str(outcomes[1])
            assert told == [True]
            with pytest.raises(ShuttingDown):
                await events_of(pool, "a")
        finally:
            await pool.close()

    run(test())


@pytest.mark.parametrize("where", ["park", "suspend", "resume"])
def test_a_move_that_finds_the_device_lost_says_so_and_the_process_is_to_end(where: str) -> None:
    async def test() -> None:
        told: list[bool] = []
        workshop = Workshop()
        tools = replace(workshop.tools(), park=lost) if where == "park" else workshop.tools()
        pool = Pool((make_card("a"),), tools, on_lost=lambda: told.append(True))
        await pool.start()
        try:
            await pool.load("a")
            if where != "park":
                setattr(workshop.engines["a"], where, lost)
            if where == "resume":
                await pool.sleep("a")
            with pytest.raises(DeviceLost, match="illegal memory access"):
                await (pool.load("a") if where == "resume" else pool.sleep("a"))
            await until(lambda: told == [True])
        finally:
            await pool.close()

    run(test())
