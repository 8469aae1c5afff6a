"""Room for answers is given as they grow. Where it runs out, those who came last wait, and lose nothing by it."""

from __future__ import annotations

import pytest

from app.inference.engine import Engine
from app.inference.errors import Interrupted
from app.inference.types import FinishReason, Queued, SamplingParams, Started
from tests.support.inference_models import Heard, ask, drain, generated, new_engine, prompts, tiny_llama

pytestmark = pytest.mark.usefixtures("one_thread")


def until_paused(engine: Engine) -> None:
    while not engine.stats.pauses:
        assert engine.step()


def three(engine: Engine, answer: int = 60) -> list[Heard]:
    """Each fits in alone, and two do not fit in whole."""
    return [ask(engine, prompt, answer, name=str(n)) for n, prompt in enumerate(prompts(3, longest=8))]


def test_answers_that_may_become_long_run_together_when_they_are_short() -> None:
    whole, growing = new_engine(kv_tokens=128), new_engine(kv_tokens=128, growth_tokens=16)
    for engine in (whole, growing):
        for number in range(3):
            ask(engine, [5, 6, 7], 100, name=str(number))
        engine.step()
    assert (whole.stats.running, growing.stats.running) == (1, 3)
    assert growing.stats.kv_tokens_used == 3 * 32  # pages of 16: the prompt, and 16 tokens of the answer


@pytest.mark.parametrize("static", [False, True])
def test_who_was_paused_goes_on_as_if_nothing_had_been(static: bool) -> None:
    engine = new_engine(kv_tokens=96, page_tokens=8, growth_tokens=8, static=static)
    heard = three(engine)
    drain(engine)
    assert engine.stats.pauses > 0
    for prompt, one in zip(prompts(3, longest=8), heard, strict=True):
        assert one.tokens == generated(tiny_llama(), prompt, 60)
        assert [one.ends, one.reason, one.finished.usage.generated_tokens] == [1, FinishReason.LENGTH, 60]
        assert sum(isinstance(event, Started) for event in one.events) == 1
        assert not any(isinstance(event, Queued) for event in one.events[one.events.index(one.started) :])
    assert engine.stats.kv_tokens_used == 0


def test_the_random_numbers_and_the_penalty_are_those_of_one_that_was_never_paused() -> None:
    params = SamplingParams(max_tokens=60, temperature=1.1, top_p=0.95, repetition_penalty=1.3, seed=7, ignore_eos=True)
    alone = new_engine()
    undisturbed = [ask(alone, prompt, 60, sampling=params) for prompt in prompts(3, longest=8)]
    drain(alone)
    engine = new_engine(kv_tokens=96, page_tokens=8, growth_tokens=8)
    heard = [ask(engine, prompt, 60, sampling=params) for prompt in prompts(3, longest=8)]
    drain(engine)
    assert engine.stats.pauses > 0
    assert [one.tokens for one in heard] == [one.tokens for one in undisturbed]
    assert [one.finished.usage.reused_tokens for one in heard] == [0, 0, 0]


def test_the_oldest_is_never_paused_and_nobody_new_goes_before_the_paused() -> None:
    engine = new_engine(kv_tokens=96, page_tokens=8, growth_tokens=8)
    heard = three(engine)
    until_paused(engine)
    late = ask(engine, [9, 8, 7], 4)
    engine.step()
    assert late.positions[0] >= 1, "the paused are before it"
    while not heard[0].ends:
        before = len(heard[0].tokens)
        engine.step()
        assert len(heard[0].tokens) == before + 1
    drain(engine)
    assert late.times[late.events.index(late.started)] >= heard[0].times[-1]
    assert late.times[-1] > heard[1].times[-1]
    assert all(one.finished.usage.queue_s >= 0 and one.finished.usage.decode_s >= 0 for one in heard)
    assert heard[2].finished.usage.queue_s > heard[0].finished.usage.queue_s


def test_one_that_is_paused_can_be_cancelled_or_told_of_the_end() -> None:
    engine = new_engine(kv_tokens=96, page_tokens=8, growth_tokens=8)
    heard = three(engine)
    until_paused(engine)
    engine.cancel("2")
    said = len(heard[2].events)
    engine.step()
    engine.fail_all(Interrupted("The model was taken away."))
    assert [one.ends for one in heard] == [1, 1, 0]
    assert len(heard[2].events) == said
    assert engine.idle
    engine.suspend()


def test_all_the_arena_may_be_one_answers() -> None:
    engine = new_engine(kv_tokens=64, page_tokens=8, growth_tokens=8, context=512)
    first, second = ask(engine, [5, 6, 7, 8], 500), ask(engine, [6, 7, 8, 9], 500)
    drain(engine)
    assert [len(first.tokens), len(second.tokens)] == [60, 60]
    assert first.tokens == generated(tiny_llama(), [5, 6, 7, 8], 60)
