"""Who is resident, over scripted engines and a pretend device: loading, making room, sleep, failure, the end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Any, cast

import pytest

from app.inference.errors import (
    BadImage,
    GenerationFailed,
    InferenceError,
    Interrupted,
    ModelUnavailable,
    NoRoom,
    Overloaded,
    PromptTooLong,
    UnknownModel,
    WeightsMissing,
)
from app.inference.pool import Options
from app.inference.types import (
    Delta,
    Event,
    Family,
    Finished,
    Loading,
    Prompt,
    Queued,
    Residency,
    SamplingParams,
    Started,
)
from tests.support.inference_core import KV, MIB, WEIGHTS, Letters, Workshop, make_card, make_request
from tests.support.inference_pool import EACH, events_of, held, pool_of, residency, run, text_of, until

# Events


def test_a_request_loads_its_model_and_is_answered_in_order() -> None:
    async def test() -> None:
        workshop = Workshop()
        workshop.loading.clear()
        async with pool_of(workshop) as pool:
            answer = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: pool.status()[0].fraction == 0.5)
            assert residency(pool)["a"] is Residency.LOADING
            await asyncio.sleep(0.05)
            workshop.loading.set()
            events = await answer
            kinds = [type(event) for event in events]
            first_answer = kinds.index(Queued)
            assert set(kinds[:first_answer]) == {Loading}
            assert Loading(model="a", what="reading weights", fraction=0.5) in events
            assert kinds[first_answer + 1] is Started
            assert kinds[-1] is Finished
            assert text_of(events) == "xxxx"
            (status, *_) = pool.status()
            assert (status.residency, status.weight_bytes, status.kv_bytes) == (Residency.RESIDENT, WEIGHTS, KV)
            assert status.device == "pretend:0"

    run(test())


def test_who_waits_for_a_model_is_told_how_many_came_before() -> None:
    async def test() -> None:
        workshop = Workshop()
        workshop.loading.clear()
        async with pool_of(workshop) as pool:
            told: list[list[int]] = [[], [], []]

            async def listen(number: int) -> None:
                async for event in pool.generate(make_request("a")):
                    if isinstance(event, Loading):
                        told[number].append(event.position)

            listening = []
            for number, heard in enumerate(told):
                listening.append(asyncio.create_task(listen(number)))
                await until(partial(bool, heard))
            assert [positions[0] for positions in told] == [0, 1, 2]
            listening[0].cancel()
            await until(lambda: (told[1][-1], told[2][-1]) == (0, 1))
            workshop.loading.set()
            await asyncio.gather(*listening[1:])

    run(test())


def test_first_requests_at_once_load_once() -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop) as pool:
            answers = await asyncio.gather(*(events_of(pool, "a") for _ in range(20)))
            assert [text_of(events) for events in answers] == ["xxxx"] * 20
            assert workshop.loads == [("a",)]

    run(test())


def test_adapters_over_one_base_share_its_weights_and_its_engine() -> None:
    cards = (make_card("one", weights="base", adapter="x"), make_card("two", weights="base", adapter="y"))

    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop, *cards) as pool:
            await asyncio.gather(events_of(pool, "one"), events_of(pool, "two"))
            assert workshop.loads == [("one", "two")]
            (engine,) = workshop.engines.values()
            assert {sequence.adapter for sequence in engine.seen} == {"one", "two"}
            assert {status.weight_bytes for status in pool.status()} == {WEIGHTS}
            assert workshop.device.told[-1] == EACH

    run(test())


def test_one_thread_alone_steps_all_engines() -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop) as pool:
            await asyncio.gather(*(events_of(pool, name) for name in "abc" for _ in range(5)))
            steppers = {thread for engine in workshop.engines.values() for thread in engine.steppers}
            assert len(steppers) == 1

    run(test())


def test_closing_the_events_cancels_the_sequence() -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop) as pool:
            request = make_request("a", sampling=SamplingParams(max_tokens=60))
            stream = pool.generate(request)
            async with aclosing(cast(Any, stream)) as events:
                async for event in events:
                    if isinstance(event, Queued):
                        break
            assert workshop.engines["a"].cancelled == [request.id]
            await until(lambda: workshop.engines["a"].idle)

    run(test())


def test_a_slow_reader_finds_the_rest_in_one_delta() -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop) as pool:
            events: list[Event] = []
            async for event in pool.generate(make_request("a", sampling=SamplingParams(max_tokens=50))):
                events.append(event)
                if isinstance(event, Queued):
                    await until(lambda: workshop.engines["a"].idle)
            deltas = [event for event in events if isinstance(event, Delta)]
            assert len(deltas) == 1
            assert (deltas[0].text, len(deltas[0].tokens)) == ("x" * 50, 50)

    run(test())


def test_more_than_the_queue_holds_are_refused_while_the_model_is_loaded() -> None:
    async def test() -> None:
        workshop = Workshop()
        workshop.loading.clear()
        async with pool_of(workshop, options=Options(tick_s=0.01, max_waiting=3)) as pool:
            waiting = [asyncio.create_task(events_of(pool, "a", id=f"{number}")) for number in range(3)]
            await until(lambda: pool.status()[0].waiting == 3)
            with pytest.raises(Overloaded, match="3 requests are waiting") as caught:
                await anext(pool.generate(make_request("a")))  # before any event, while it can have a status
            assert caught.value.retry_after >= 1
            workshop.loading.set()
            assert [text_of(await answer) for answer in waiting] == ["xxxx"] * 3
            assert text_of(await events_of(pool, "a")) == "xxxx"

    run(test())


# Intake


def test_a_prompt_is_measured_against_the_context() -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop) as pool:
            with pytest.raises(PromptTooLong) as caught:
                await events_of(pool, "a", text="y" * 100)
            assert (caught.value.prompt_tokens, caught.value.limit) == (101, 63)
            await events_of(pool, "a", text="y" * 100, truncate=10)
            await events_of(pool, "a", text="y" * 60, sampling=SamplingParams(max_tokens=50))
            cut, full = workshop.engines["a"].seen
            assert (len(cut.prompt_ids), cut.prompt_ids[0]) == (10, 1)
            assert (len(full.prompt_ids), full.sampling.max_tokens) == (61, 3)

    run(test())


def test_a_prompt_is_measured_against_the_cache_where_that_holds_less() -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop, make_card("a", context=500)) as pool:
            assert pool.status()[0].context == 500, "how much the cache will hold is not known yet"
            for _ in range(2):
                with pytest.raises(PromptTooLong) as caught:
                    await events_of(pool, "a", text="y" * 100)
                assert (caught.value.prompt_tokens, caught.value.limit) == (101, 63)
                assert pool.status()[0].context == 64
                await pool.sleep("a")
                assert pool.status()[0].context == 64, "it will be as much again"
            wanted = SamplingParams(max_tokens=50)
            await events_of(pool, "a", text="y" * 999, truncate=999, sampling=wanted)
            (sequence,) = workshop.engines["a"].seen
            assert (len(sequence.prompt_ids), sequence.sampling.max_tokens) == (48, 16)

    run(test())


def test_truncation_leaves_room_for_an_answer() -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop) as pool:
            wanted = SamplingParams(max_tokens=50)
            await events_of(pool, "a", text="y" * 999, truncate=999, sampling=wanted)
            (sequence,) = workshop.engines["a"].seen
            assert (len(sequence.prompt_ids), sequence.sampling.max_tokens) == (48, 16)

    run(test())


@pytest.mark.parametrize(
    "bos, truncate, kept", [(1, 3, (1, ord("y"), ord("z"))), (1, 1, (ord("z"),)), (None, 3, tuple(map(ord, "xyz")))]
)
def test_of_what_is_cut_the_beginning_stays_where_it_is_a_bos(
    bos: int | None, truncate: int, kept: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop) as pool:
            await events_of(pool, "a", text="uvwxyz", truncate=truncate)
            assert workshop.engines["a"].seen[0].prompt_ids == kept

    monkeypatch.setattr(Letters, "bos_token_id", bos)
    run(test())


def test_stop_strings_of_request_and_card_are_merged() -> None:
    card = make_card("a", prompt="guanaco", defaults=SamplingParams(stop=("END",)))

    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop, card) as pool:
            await events_of(pool, "a", sampling=SamplingParams(max_tokens=1, stop=("mine", "END")))
            assert workshop.engines["a"].seen[0].stop == ("mine", "END")

    run(test())


def test_an_unknown_model_lists_the_known_ones() -> None:
    async def test() -> None:
        async with pool_of(Workshop()) as pool:
            with pytest.raises(UnknownModel, match="a, b, c"):
                await events_of(pool, "z")
            with pytest.raises(UnknownModel):
                await pool.load("z")

    run(test())


def test_tokens_are_counted_as_the_model_has_them() -> None:
    async def test() -> None:
        async with pool_of(Workshop()) as pool:
            assert await pool.count_tokens("a", "hi") == (1, ord("h"), ord("i"))

    run(test())


def test_a_picture_that_cannot_be_read_is_refused_while_the_model_is_loaded() -> None:
    async def test() -> None:
        workshop = Workshop()
        workshop.loading.clear()
        async with pool_of(workshop, make_card("a", family=Family.LLAVA)) as pool:
            loading = asyncio.create_task(pool.load("a"))
            await until(lambda: workshop.loads)
            async with asyncio.timeout(5):
                with pytest.raises(BadImage):
                    await events_of(pool, "a", prompt=Prompt(text="<image>", images=(b"no picture",)))
            assert not loading.done()
            workshop.loading.set()
            await loading

    run(test())


# Room


def test_the_least_recently_used_model_goes_to_sleep_for_another() -> None:
    async def test() -> None:
        workshop = Workshop()
        workshop.device.total = 2 * EACH
        async with pool_of(workshop) as pool:
            for name in ("a", "b", "a", "c"):
                await events_of(pool, name)
            assert residency(pool) == {
                "a": Residency.RESIDENT,
                "b": Residency.ASLEEP,
                "c": Residency.RESIDENT,
            }
            assert workshop.device.told[-1] == 2 * EACH
            assert text_of(await events_of(pool, "b")) == "xxxx"
            assert workshop.loads == [("a",), ("b",), ("c",)], "one that sleeps is woken, not loaded"
            assert workshop.device.told[-1] == 2 * EACH

    run(test())


def test_without_memory_of_its_own_models_are_let_go() -> None:
    async def test() -> None:
        workshop = Workshop(own_memory=False)
        workshop.device.total = EACH
        async with pool_of(workshop) as pool:
            await events_of(pool, "a")
            await events_of(pool, "b")
            assert residency(pool)["a"] is Residency.ABSENT
            await pool.sleep("b")
            assert (residency(pool)["b"], workshop.device.told[-1]) == (Residency.ASLEEP, WEIGHTS)
            await events_of(pool, "b")
            assert workshop.loads == [("a",), ("b",)]
            await pool.sleep("b")
            await events_of(pool, "c")
            assert residency(pool)["b"] is Residency.ABSENT

    run(test())


def test_the_host_keeps_only_as_many_asleep_as_it_has_room_for() -> None:
    async def test() -> None:
        workshop = Workshop()
        workshop.device.total, workshop.device.host = EACH, WEIGHTS + MIB
        async with pool_of(workshop) as pool:
            for name in ("a", "b", "c"):
                await events_of(pool, name)
            assert residency(pool) == {"a": Residency.ABSENT, "b": Residency.ASLEEP, "c": Residency.RESIDENT}

    run(test())


def test_what_can_never_fit_is_refused_with_the_numbers() -> None:
    async def test() -> None:
        workshop = Workshop()
        workshop.device.total, workshop.device.others = EACH, WEIGHTS
        async with pool_of(workshop) as pool:
            with pytest.raises(NoRoom, match=r"A needs .* there are .* in all") as caught:
                await events_of(pool, "a")
            assert caught.value.hint
            assert workshop.loads == []
            assert (pool.status()[0].residency, pool.status()[0].error) == (Residency.FAILED, caught.value.sentence)
            workshop.device.others = 0
            assert text_of(await events_of(pool, "a")) == "xxxx", "the next request tries again"

    run(test())


def test_a_model_in_use_is_waited_for_and_nobody_enters_it_meanwhile() -> None:
    async def test() -> None:
        workshop = Workshop(prepare=held("a"))
        workshop.device.total = EACH
        async with pool_of(workshop) as pool:
            first = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            other = asyncio.create_task(events_of(pool, "b"))
            await until(lambda: residency(pool)["b"] is Residency.LOADING)
            await asyncio.sleep(0.05)
            late = asyncio.create_task(events_of(pool, "a"))
            await asyncio.sleep(0.05)
            assert len(workshop.engines["a"].running) == 1
            workshop.engines["a"].gate.set()
            answers = await asyncio.gather(first, other, late)
            assert [text_of(events) for events in answers] == ["xxxx"] * 3

    run(test())


def test_who_waits_in_vain_for_room_is_told_so_and_the_others_go_on() -> None:
    async def test() -> None:
        workshop = Workshop(prepare=held("a"))
        workshop.device.total = EACH
        async with pool_of(workshop, options=Options(tick_s=0.01, patience_s=0.1)) as pool:
            first = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            with pytest.raises(NoRoom, match="in use"):
                await events_of(pool, "b")
            late = asyncio.create_task(events_of(pool, "a"))
            workshop.engines["a"].gate.set()
            assert [text_of(await answer) for answer in (first, late)] == ["xxxx", "xxxx"]

    run(test())


def test_many_requests_for_more_models_than_fit_are_all_answered() -> None:
    async def test() -> None:
        workshop = Workshop()
        workshop.device.total = EACH
        async with pool_of(workshop) as pool:
            answers = await asyncio.gather(*(events_of(pool, "abc"[number % 3]) for number in range(60)))
            assert {text_of(events) for events in answers} == {"xxxx"}
            assert max(workshop.device.told) <= workshop.device.total

    run(test())


# Sleep and letting go


def test_sleep_and_unload_wait_for_what_is_in_use() -> None:
    async def test() -> None:
        workshop = Workshop(prepare=held("a"))
        async with pool_of(workshop) as pool:
            answer = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            sleeping = asyncio.create_task(pool.sleep("a"))
            await asyncio.sleep(0.05)
            assert not sleeping.done()
            workshop.engines["a"].gate.set()
            await sleeping
            assert text_of(await answer) == "xxxx"
            assert residency(pool)["a"] is Residency.ASLEEP
            await pool.load("a")
            assert residency(pool)["a"] is Residency.RESIDENT
            await pool.unload("a")
            assert (residency(pool)["a"], workshop.device.told[-1]) == (Residency.ABSENT, 0)

    run(test())


def test_an_unused_model_goes_to_sleep_and_later_is_let_go() -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop, options=Options(tick_s=0.01, ttl_s=0.2)) as pool:
            await events_of(pool, "a")
            await until(lambda: residency(pool)["a"] is Residency.ASLEEP)
            await until(lambda: residency(pool)["a"] is Residency.ABSENT)
            assert text_of(await events_of(pool, "a")) == "xxxx"

    run(test())


# What goes wrong


@pytest.mark.parametrize("error", [WeightsMissing("There are none.", hint="Get some."), RuntimeError("a defect")])
def test_a_failed_load_is_told_to_all_who_wait_and_tried_again(error: Exception) -> None:
    async def test() -> None:
        workshop = Workshop(failing={"a": error})
        async with pool_of(workshop) as pool:
            workshop.loading.clear()
            waiting = [asyncio.create_task(events_of(pool, "a")) for _ in range(5)]
            await asyncio.sleep(0.5)  # all are there
            workshop.loading.set()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(outcome, ModelUnavailable) for outcome in outcomes)
            assert len(workshop.loads) == 1
            assert pool.status()[0].residency is Residency.FAILED
            workshop.failing.clear()
            assert text_of(await events_of(pool, "a")) == "xxxx"
            assert pool.status()[0].error == ""

    run(test())


def test_an_engine_that_breaks_ends_its_own_requests_and_comes_back() -> None:
    async def test() -> None:
        workshop = Workshop(prepare=held("a"))
        async with pool_of(workshop) as pool:
            broken = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            workshop.engines["a"].broken = RuntimeError("the device is lost")
            workshop.engines["a"].gate.set()
            with pytest.raises(GenerationFailed):
                await broken
            assert text_of(await events_of(pool, "b")) == "xxxx"
            await until(lambda: residency(pool)["a"] is Residency.ABSENT)
            assert "the device is lost" in pool.status()[0].error
            workshop.prepare = lambda _name, _engine: None
            assert text_of(await events_of(pool, "a")) == "xxxx"

    run(test())


def test_a_client_that_leaves_while_a_model_loads_leaves_it_to_the_others() -> None:
    async def test() -> None:
        workshop = Workshop()
        workshop.loading.clear()
        async with pool_of(workshop) as pool:
            left, stays = (asyncio.create_task(events_of(pool, "a")) for _ in range(2))
            await until(lambda: residency(pool)["a"] is Residency.LOADING)
            left.cancel()
            await asyncio.sleep(0.05)
            workshop.loading.set()
            assert text_of(await stays) == "xxxx"
            assert pool.status()[0].waiting == 0

    run(test())


def test_the_end_interrupts_what_does_not_end_by_itself() -> None:
    async def test() -> None:
        workshop = Workshop(prepare=held("a"))
        async with pool_of(workshop) as pool:
            await events_of(pool, "b")
            running = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            workshop.loading.clear()
            loading = asyncio.create_task(events_of(pool, "c"))
            await until(lambda: residency(pool)["c"] is Residency.LOADING)
            await pool.drain(0.1)
            for task in (running, loading):
                with pytest.raises(Interrupted):
                    await task
            with pytest.raises(Interrupted):
                await events_of(pool, "b")

    run(test())


def test_the_end_lets_what_runs_be_done() -> None:
    async def test() -> None:
        workshop = Workshop(prepare=held("a"))
        async with pool_of(workshop) as pool:
            running = asyncio.create_task(events_of(pool, "a"))
            await until(lambda: "a" in workshop.engines and workshop.engines["a"].running)
            draining = asyncio.create_task(pool.drain(5))
            await asyncio.sleep(0.05)
            workshop.engines["a"].gate.set()
            assert text_of(await running) == "xxxx"
            await draining

    run(test())


def test_errors_of_the_pool_have_a_hint() -> None:
    async def test() -> None:
        async with pool_of(Workshop()) as pool:
            await pool.drain(0)
            with pytest.raises(InferenceError) as caught:
                await events_of(pool, "a")
            assert caught.value.hint

    run(test())
