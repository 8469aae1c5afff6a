"""Moves of models beside each other: what waits for what, what is leased when, what an error leaves behind."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Sequence

import pytest
import torch

from app.inference.errors import (
    GenerationFailed,
    InferenceError,
    ModelUnavailable,
    NoRoom,
    OutOfMemory,
    WeightsMissing,
)
from app.inference.loaded import LoadedModel
from app.inference.pool import Options
from app.inference.types import ModelCard, Residency, SamplingParams
from tests.support.inference_core import KV, WEIGHTS, PretendParked, ScriptedEngine, Workshop
from tests.support.inference_models import new_engine
from tests.support.inference_pool import EACH, QUICK, events_of, held, pool_of, residency, run, text_of, until

# Nobody waits for a busy model who need not


@pytest.mark.parametrize("move", ["sleep", "unload"])
def test_while_a_busy_model_is_to_go_others_come(move: str) -> None:
    async def test() -> None:
        workshop = Workshop(prepare=held("a"))
        async with pool_of(workshop) as pool:
            await pool.load("c")
            await pool.sleep("c")
            running = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            moving = asyncio.create_task(getattr(pool, move)("a"))
            await asyncio.sleep(0.05)
            async with asyncio.timeout(5):
                assert text_of(await events_of(pool, "b")) == "xxxx", "one that is loaded"
                assert text_of(await events_of(pool, "c")) == "xxxx", "one that is woken"
            assert not moving.done()
            late = asyncio.create_task(events_of(pool, "a"))
            await asyncio.sleep(0.05)
            assert len(workshop.engines["a"].running) == 1, "nobody goes in any more"
            workshop.engines["a"].gate.set()
            await moving
            workshop.prepare = lambda _name, _engine: None
            assert [text_of(await answer) for answer in (running, late)] == ["xxxx", "xxxx"]

    run(test())


def test_while_one_waits_for_the_room_of_a_busy_model_what_fits_beside_it_comes() -> None:
    def estimate(cards: Sequence[ModelCard]) -> int:
        return 3 * WEIGHTS if cards[0].name == "b" else WEIGHTS

    async def test() -> None:
        workshop = Workshop(prepare=held("a"), estimate=estimate)
        workshop.device.total = 3 * EACH
        async with pool_of(workshop) as pool:
            running = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            waiting = asyncio.create_task(events_of(pool, "b"))
            await until(lambda: residency(pool)["b"] is Residency.LOADING and workshop.loads == [("a",)])
            async with asyncio.timeout(5):
                assert text_of(await events_of(pool, "c")) == "xxxx"
            assert not waiting.done()
            workshop.engines["a"].gate.set()
            assert [text_of(await answer) for answer in (running, waiting)] == ["xxxx", "xxxx"]
            assert max(workshop.device.told) <= workshop.device.total

    run(test())


def test_sleep_and_unload_of_one_busy_model_do_not_disturb_each_other() -> None:
    async def test() -> None:
        workshop = Workshop(prepare=held("a"))
        async with pool_of(workshop) as pool:
            running = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            moves = [asyncio.create_task(move("a")) for move in (pool.sleep, pool.unload, pool.sleep)]
            await asyncio.sleep(0.05)
            workshop.engines["a"].gate.set()
            await asyncio.gather(running, *moves)
            assert residency(pool)["a"] is Residency.ABSENT
            workshop.prepare = lambda _name, _engine: None
            assert text_of(await events_of(pool, "a")) == "xxxx"

    run(test())


def test_a_model_that_sleeps_and_finds_no_room_sleeps_on() -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop) as pool:
            await events_of(pool, "a")
            await pool.sleep("a")
            workshop.device.others = workshop.device.total
            with pytest.raises(NoRoom):
                await events_of(pool, "a")
            assert residency(pool)["a"] is Residency.ASLEEP
            workshop.device.others = 0
            assert text_of(await events_of(pool, "a")) == "xxxx"
            assert workshop.loads == [("a",)], "it was woken, not loaded again"

    run(test())


def test_a_model_whose_last_request_was_cancelled_during_a_step_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        workshop, stepped, ended = Workshop(), threading.Event(), threading.Event()
        engine = new_engine()
        step = engine.step

        def long_step() -> bool:
            worked = step()
            stepped.set()
            assert ended.wait(20), "nobody ended the step"
            return worked

        monkeypatch.setattr(engine, "step", long_step)
        monkeypatch.setattr(workshop, "make_engine", lambda loaded, kv_bytes: engine)
        async with pool_of(workshop) as pool:
            answer = asyncio.create_task(events_of(pool, "a", sampling=SamplingParams(max_tokens=50)))
            await until(stepped.is_set)
            answer.cancel()
            await asyncio.wait({answer})
            moving = asyncio.create_task(pool.sleep("a"))
            await asyncio.sleep(0.1)  # it waits for the step by then
            ended.set()
            await moving
            assert residency(pool)["a"] is Residency.ASLEEP
            await events_of(pool, "a")
            assert workshop.loads == [("a",)], "it was woken, not loaded again"

    run(test())


@pytest.mark.parametrize("where, own_memory", [("restore", True), ("resume", True), ("resume", False)])
def test_a_model_that_sleeps_and_finds_the_device_full_sleeps_on(where: str, own_memory: bool) -> None:
    def full(*_: object) -> None:
        raise OutOfMemory("The device is full.")

    async def test() -> None:
        workshop = Workshop(own_memory=own_memory)
        async with pool_of(workshop) as pool:
            await events_of(pool, "a")
            await pool.sleep("a")
            with pytest.MonkeyPatch.context() as patch:
                owner = PretendParked if where == "restore" else workshop.engines["a"]
                patch.setattr(owner, where, full)
                with pytest.raises(NoRoom, match=r"sleeps on\. The device is full"):
                    await events_of(pool, "a")
            assert residency(pool)["a"] is Residency.ASLEEP
            assert len(workshop.device.parked) == own_memory
            assert workshop.device.told[-1] == (0 if own_memory else WEIGHTS)
            assert text_of(await events_of(pool, "a")) == "xxxx"
            assert workshop.loads == [("a",)], "it was woken, not loaded again"

    run(test())


def test_what_a_failed_load_had_taken_is_not_held_by_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    held_by: list[weakref.ref[torch.Tensor]] = []

    def load(*_: object) -> LoadedModel:
        taken = torch.zeros(8)
        held_by.append(weakref.ref(taken))
        raise WeightsMissing("There are none.")

    async def test() -> None:
        workshop = Workshop()
        monkeypatch.setattr(workshop, "load", load)
        async with pool_of(workshop) as pool:
            with pytest.raises(WeightsMissing):
                await pool.load("a")
            assert residency(pool)["a"] is Residency.FAILED
            assert [ref() for ref in held_by] == [None]

    run(test())


# Leases


def test_memory_is_leased_before_it_is_taken_and_given_back_where_it_was_not() -> None:
    async def test() -> None:
        workshop = Workshop(failing={"a": WeightsMissing("There are none.")})
        async with pool_of(workshop) as pool:
            with pytest.raises(WeightsMissing):
                await events_of(pool, "a")
            leased, after = workshop.device.told[0], workshop.device.told[-1]
            assert leased > WEIGHTS
            assert after == 0
            workshop.failing.clear()
            workshop.loading.clear()
            answer = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: len(workshop.loads) == 2)
            assert workshop.device.told[-1] == leased, "while it is being read"
            workshop.loading.set()
            await answer
            assert workshop.device.told[-1] == EACH, "what it came to"
            await pool.sleep("a")
            assert workshop.device.told[-1] == 0
            resumed: list[int] = []
            workshop.engines["a"].resume = lambda: resumed.append(workshop.device.told[-1])  # type: ignore[method-assign]  # to see when
            await pool.load("a")
            assert resumed == [EACH]

    run(test())


def test_of_two_that_want_the_same_memory_at_once_one_sees_the_other() -> None:
    """A Space writes its claim down just when the core does, after the core looked."""

    async def test() -> None:
        workshop = Workshop()
        workshop.device.total = EACH

        def space_claims(held: int) -> None:
            if held:
                workshop.device.others, workshop.device.heard = EACH, lambda _held: None

        workshop.device.heard = space_claims
        async with pool_of(workshop) as pool:
            with pytest.raises(NoRoom):
                await events_of(pool, "a")
            assert workshop.loads == []
            assert workshop.device.told[-1] == 0

    run(test())


# Sizes of the others


def test_bases_that_cannot_be_measured_soon_are_not_waited_for() -> None:
    measured = threading.Event()

    def estimate(cards: Sequence[ModelCard]) -> int:
        if cards[0].name != "a":
            assert measured.wait(20), "the Hub does not answer"
        return WEIGHTS

    async def test() -> None:
        workshop = Workshop(estimate=estimate)
        workshop.device.total = 3 * EACH
        try:
            async with pool_of(workshop, options=Options(tick_s=0.01, measure_s=0.1)) as pool:
                async with asyncio.timeout(5):
                    assert text_of(await events_of(pool, "a")) == "xxxx"
                assert pool.status()[0].kv_bytes == KV, "the others count as large as this one until they are measured"
                measured.set()
                assert text_of(await events_of(pool, "b")) == "xxxx"
        finally:
            measured.set()

    run(test())


def test_a_base_that_cannot_be_measured_stands_in_nobodys_way() -> None:
    def estimate(cards: Sequence[ModelCard]) -> int:
        if cards[0].name == "b":
            raise ValueError("its configuration is a riddle")
        return WEIGHTS

    async def test() -> None:
        workshop = Workshop(estimate=estimate)
        async with pool_of(workshop) as pool:
            assert text_of(await events_of(pool, "a")) == "xxxx"
            with pytest.raises(ModelUnavailable, match="riddle"):
                await events_of(pool, "b")

    run(test())


# What breaks


@pytest.mark.parametrize("where", ["suspend", "resume"])
def test_a_move_that_fails_is_told_and_the_model_comes_again(where: str) -> None:
    def broken() -> None:
        raise RuntimeError("a defect")

    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop) as pool:
            await events_of(pool, "a")
            setattr(workshop.engines["a"], where, broken)
            await pool.sleep("a")
            if where == "resume":
                outcomes = await asyncio.gather(*(events_of(pool, "a") for _ in range(3)), return_exceptions=True)
                assert all(isinstance(outcome, ModelUnavailable) for outcome in outcomes)
                assert residency(pool)["a"] is Residency.FAILED
            else:
                assert residency(pool)["a"] is Residency.ABSENT, "what cannot sleep is let go"
            assert text_of(await events_of(pool, "a")) == "xxxx"

    run(test())


def test_all_who_are_in_an_engine_that_breaks_are_told_even_where_it_cannot() -> None:
    class Dead(ScriptedEngine):
        def fail_all(self, error: InferenceError) -> None:
            raise RuntimeError("dead")

    async def test() -> None:
        workshop = Workshop()
        dead = Dead()
        dead.gate.clear()
        engines = iter((dead, ScriptedEngine()))
        workshop.make_engine = lambda loaded, kv_bytes: next(engines)  # type: ignore[method-assign]  # a worse one first
        async with pool_of(workshop, options=QUICK) as pool:
            answers = [asyncio.create_task(events_of(pool, "a")) for _ in range(3)]
            await until(lambda: len(dead.running) == 3)
            dead.broken = RuntimeError("the device is lost")
            dead.gate.set()
            outcomes = await asyncio.gather(*answers, return_exceptions=True)
            assert all(isinstance(outcome, GenerationFailed) for outcome in outcomes)
            await until(lambda: residency(pool)["a"] is Residency.ABSENT)
            assert text_of(await events_of(pool, "a")) == "xxxx"

    run(test())
