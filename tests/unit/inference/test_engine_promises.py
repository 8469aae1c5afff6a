"""What an engine promises besides the right tokens: events, ends, fairness, refusals, sleep."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import torch

from app.inference.engine import Engine, Limits, kv_bytes_per_token
from app.inference.errors import (
    BadImage,
    BadRequest,
    ImagesNotSupported,
    Interrupted,
    Overloaded,
    PromptTooLong,
    UnknownAdapter,
)
from app.inference.families.flat import Arena
from app.inference.types import Family, FinishReason, Queued, SamplingParams, Started
from tests.support.inference_models import (
    IMAGE_TOKEN,
    Heard,
    ask,
    byte_tokenizer,
    drain,
    generated,
    loaded,
    new_engine,
    pictured,
    prompts,
    tiny_llama,
    tiny_llava,
    tiny_mpt,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_events_of_a_sequence() -> None:
    engine = new_engine()
    heard = ask(engine, [5, 6, 7], 3, sampling=SamplingParams(max_tokens=3, seed=99, ignore_eos=True))
    assert heard.events == []
    assert not engine.idle
    drain(engine)
    assert heard.events[:2] == [Queued(position=0), Started(prompt_tokens=3, reused_tokens=0, seed=99)]
    assert [len(heard.tokens), heard.ends, heard.reason] == [3, 1, FinishReason.LENGTH]
    usage = heard.finished.usage
    assert (usage.prompt_tokens, usage.generated_tokens) == (3, 3)
    assert engine.idle


def test_a_seed_is_drawn_and_told_where_none_is_given() -> None:
    engine = new_engine()
    first = ask(engine, [5, 6, 7], 12, sampling=SamplingParams(max_tokens=12))
    drain(engine)
    again = ask(engine, [5, 6, 7], 12, sampling=SamplingParams(max_tokens=12, seed=first.started.seed))
    drain(engine)
    assert again.tokens == first.tokens


@pytest.mark.parametrize("static", [False, True])
def test_a_seed_fixes_the_answer_whatever_else_is_in_the_batch(static: bool) -> None:
    params = SamplingParams(max_tokens=15, temperature=0.9, top_p=0.9, top_k=40, repetition_penalty=1.2, seed=5)
    engine = new_engine(static=static)
    alone = ask(engine, [5, 6, 7], 15, sampling=params)
    drain(engine)
    for _ in range(3):
        ask(engine, [9, 8], 20, sampling=SamplingParams(max_tokens=20, temperature=1.5))
    crowded = ask(engine, [5, 6, 7], 15, sampling=params)
    drain(engine)
    assert crowded.tokens == alone.tokens


def test_a_repetition_penalty_is_generates() -> None:
    model = tiny_llama()
    expected = generated(model, [5, 6, 7, 5, 6, 7], 25, repetition_penalty=1.6)
    assert expected != generated(model, [5, 6, 7, 5, 6, 7], 25)
    for static in (False, True):
        engine = new_engine(static=static)
        params = SamplingParams(max_tokens=25, temperature=0, repetition_penalty=1.6, ignore_eos=True)
        heard = ask(engine, [5, 6, 7, 5, 6, 7], 25, sampling=params)
        drain(engine)
        assert heard.tokens == expected


def test_the_end_of_a_sequence_is_not_shown() -> None:
    prompt = prompts(1)[0]
    tokens = generated(tiny_llama(), prompt, 20)
    engine = Engine(loaded(tiny_llama(), Family.LLAMA, eos_ids=frozenset({tokens[6]})), Limits(kv_tokens=512))
    heard = ask(engine, prompt, 20, sampling=SamplingParams(max_tokens=20, temperature=0))
    drain(engine)
    end = tokens.index(tokens[6]) + 1
    assert heard.tokens == tokens[:end]
    assert heard.reason is FinishReason.EOS
    assert heard.text == byte_tokenizer().decode(tokens[: end - 1])


def test_a_stop_string_ends_a_sequence_and_is_not_shown() -> None:
    prompt = prompts(1, seed=2)[0]
    engine = new_engine()
    whole = ask(engine, prompt, 40)
    drain(engine)
    stop = whole.text[12:15]
    stopped = ask(engine, prompt, 40, stop=("never said", stop))
    drain(engine)
    assert stopped.text == whole.text[: whole.text.index(stop)]
    assert stopped.finished.stop == stop
    assert stopped.reason is FinishReason.STOP
    assert "".join(token.text for event in stopped.events for token in getattr(event, "tokens", ())).startswith(
        stopped.text + stop
    )


def test_what_may_begin_a_stop_string_is_shown_at_the_end() -> None:
    engine = new_engine()
    whole = ask(engine, [5, 6, 7], 20)
    drain(engine)
    held = ask(engine, [5, 6, 7], 20, stop=(whole.text[-2:] + "!",))
    drain(engine)
    assert held.text == whole.text


def test_an_answer_ends_with_the_context() -> None:
    engine = new_engine(context=40)
    heard = ask(engine, [5] * 30, 100)
    drain(engine)
    assert len(heard.tokens) == 10
    assert heard.reason is FinishReason.LENGTH


def test_cancelling_frees_the_room_within_a_step_and_ends_in_silence() -> None:
    engine = new_engine(kv_tokens=64, max_running=1)
    first, second = ask(engine, [5] * 20, 40, name="first"), ask(engine, [6] * 20, 40, name="second")
    for _ in range(5):
        engine.step()
    said = len(first.events)
    engine.cancel("first")
    engine.step()
    assert len(first.events) == said
    assert second.started
    engine.cancel("second")
    engine.cancel("nobody")
    engine.step()
    assert engine.idle
    assert engine.stats.running == engine.stats.waiting == engine.stats.kv_tokens_used == 0


def test_a_sink_may_cancel_its_own_sequence() -> None:
    engine = new_engine()
    heard = Heard()

    def sink(event: Any) -> None:
        heard(event)
        if len(heard.tokens) == 3:
            engine.cancel("mine")

    ask(engine, [5, 6], 30, name="mine", sink=sink)
    drain(engine)
    assert len(heard.tokens) == 3
    assert engine.idle


def test_prompts_are_computed_in_chunks_while_others_go_on() -> None:
    engine = new_engine(chunk_tokens=16)
    running = ask(engine, [5, 6, 7], 40)
    while len(running.tokens) < 3:
        engine.step()
    waiting = ask(engine, prompts(1, longest=1)[0] * 100, 2)
    before = len(running.tokens)
    steps = 0
    while not waiting.tokens:
        engine.step()
        steps += 1
    assert steps == 7  # 100 tokens, 15 at a time
    assert len(running.tokens) == before + steps


def test_pictures_are_looked_at_one_in_a_step_while_others_go_on() -> None:
    model, looked = tiny_llava(), 0

    def hook(*_: Any) -> None:
        nonlocal looked
        looked += 1

    model.model.vision_tower.register_forward_hook(hook)
    engine = Engine(loaded(model, Family.LLAVA), Limits(kv_tokens=1024, chunk_tokens=64))
    running = ask(engine, [5, 6, 7], 40)
    while len(running.tokens) < 3:
        engine.step()
    waiting = [ask(engine, pictured(20, 30), 2, pixels=torch.randn(2, 3, 56, 56)) for _ in range(3)]
    steps, before = 0, len(running.tokens)
    while not all(one.tokens for one in waiting):
        engine.step()
        steps += 1
        assert looked <= steps
        assert len(running.tokens) == before + steps
    assert looked == 6


def test_those_who_wait_are_told_where_they_stand() -> None:
    engine = new_engine(max_running=1)
    heard = [ask(engine, [5, 6], 3, client=client) for client in "aab"]
    drain(engine)
    assert [one.positions for one in heard] == [[0], [1, 0], [2, 1, 0]]  # a's two are short: both in its first turn


def test_one_client_does_not_crowd_out_another() -> None:
    engine = new_engine(max_running=1, quantum=64)
    hog = [ask(engine, [5] * 30, 30, client="hog") for _ in range(6)]
    guest = ask(engine, [6] * 5, 5, client="guest")
    drain(engine)
    assert sum(one.times[-1] < guest.times[-1] for one in hog) <= 2


def test_a_full_queue_says_when_to_come_back() -> None:
    engine = new_engine(max_running=1, max_waiting=3)
    ask(engine, [5], 30)
    drain_some = [engine.step() for _ in range(10)]
    assert all(drain_some)
    waiting = [ask(engine, [5], 30) for _ in range(3)]
    with pytest.raises(Overloaded) as caught:
        ask(engine, [5], 30)
    assert caught.value.retry_after >= 1
    drain(engine)
    assert all(one.finished for one in waiting)


def test_what_cannot_be_served_is_refused_at_once() -> None:
    engine = new_engine(context=40)
    with pytest.raises(PromptTooLong) as caught:
        ask(engine, [5] * 40, 1)
    assert (caught.value.prompt_tokens, caught.value.limit) == (40, 39)
    with pytest.raises(UnknownAdapter):
        ask(engine, [5], 1, adapter="nobody")
    with pytest.raises(BadRequest):
        ask(engine, [], 1)
    for token in (-1, 320):
        with pytest.raises(BadRequest):
            ask(engine, [5, token], 1)
    with pytest.raises(ImagesNotSupported):
        ask(engine, [5], 1, pixels=torch.zeros(1, 3, 56, 56))
    ask(engine, [5], 1, name="twice")
    with pytest.raises(ValueError, match="twice"):
        ask(engine, [5], 1, name="twice")
    drain(engine)


def test_pictures_and_their_tokens_must_agree() -> None:
    engine = new_engine(tiny_llava(), Family.LLAVA)
    pixels = torch.zeros(2, 3, 56, 56)
    for prompt, seen in ((pictured(20), None), ([5, 6], pixels), ([5, *[IMAGE_TOKEN] * 17], pixels)):
        with pytest.raises(BadImage):
            ask(engine, prompt, 1, pixels=seen)
    heard = ask(engine, [5, *[IMAGE_TOKEN] * 10], 1, pixels=pixels[:1])
    drain(engine)
    assert isinstance(heard.failed.error, BadImage)


def test_everyone_is_told_when_the_model_is_taken_away() -> None:
    engine = new_engine(max_running=2)
    heard = [ask(engine, [5, 6], 30) for _ in range(4)]
    for _ in range(4):
        engine.step()
    late = ask(engine, [5, 6], 30)
    engine.fail_all(Interrupted("The model was taken away."))
    assert all(isinstance(one.failed.error, Interrupted) and one.ends == 1 for one in [*heard, late])
    assert engine.idle
    again = ask(engine, [5, 6], 5)
    drain(engine)
    assert again.tokens == generated(tiny_llama(), [5, 6], 5)


def test_an_engine_sleeps_and_wakes() -> None:
    engine = new_engine()
    heard = ask(engine, [5, 6], 5)
    with pytest.raises(RuntimeError, match="work"):
        engine.suspend()
    drain(engine)
    engine.suspend()
    assert engine.stats.kv_bytes == 0
    engine.resume()
    assert engine.stats.kv_bytes > 0
    again = ask(engine, [5, 6], 5)
    drain(engine)
    assert again.tokens == heard.tokens
    assert again.started.reused_tokens == 0


def test_an_engine_whose_last_sequence_was_cancelled_sleeps_without_another_step() -> None:
    engine = new_engine()
    running, waiting = ask(engine, [5, 6], 30, name="running"), ask(engine, [5, 6], 30, name="waiting")
    engine.step()
    said = len(running.events), len(waiting.events)
    engine.cancel("running")
    with pytest.raises(RuntimeError, match="work"):
        engine.suspend()
    engine.cancel("waiting")
    engine.suspend()
    assert engine.idle
    assert engine.stats.running == engine.stats.waiting == engine.stats.kv_tokens_used == 0
    assert (len(running.events), len(waiting.events)) == said
    engine.resume()
    again = ask(engine, [5, 6], 5)
    drain(engine)
    assert again.tokens == generated(tiny_llama(), [5, 6], 5)


def test_what_the_arena_takes() -> None:
    model = tiny_llama()
    engine = new_engine(model, kv_tokens=1000, page_tokens=16)
    assert engine.stats.kv_tokens == 992
    assert kv_bytes_per_token(loaded(model, Family.LLAMA)) == 2 * 2 * 64 * 4
    assert engine.stats.kv_bytes == 1008 * kv_bytes_per_token(loaded(model, Family.LLAMA))  # one page of padding


def test_others_may_submit_and_cancel_while_it_steps() -> None:
    engine = new_engine(max_waiting=100)
    heard: list[Heard] = []

    def visitor(number: int) -> None:
        for turn in range(8):
            name = f"{number}-{turn}"
            heard.append(ask(engine, [5 + number, 6], 6, name=name))
            if turn % 3 == 0:
                engine.cancel(name)

    visitors = [threading.Thread(target=visitor, args=(number,)) for number in range(4)]
    for one in visitors:
        one.start()
    while any(one.is_alive() for one in visitors) or not engine.idle:
        engine.step()
    for one in visitors:
        one.join(timeout=10)
    engine.step()
    assert sum(one.ends for one in heard) >= 4 * 5
    assert all(one.ends <= 1 for one in heard)
    assert engine.stats.kv_tokens_used == 0


@pytest.mark.parametrize("family", [Family.LLAMA, Family.MPT])
def test_a_suspended_engine_holds_no_arena(family: Family) -> None:
    gc.collect()
    engine = new_engine(tiny_mpt() if family is Family.MPT else tiny_llama(), family, kv_tokens=1232)
    ask(engine, [5, 6, 7], 4)
    drain(engine)
    size = 1232 + 16  # and a page for padding; no other test asks for as many
    arenas = [one for one in gc.get_objects() if type(one) is Arena and one.keys[0].shape[1] == size]
    held = [weakref.ref(arena.keys[0]) for arena in arenas]
    del arenas
    assert held
    engine.suspend()
    gc.collect()
    assert not [ref for ref in held if ref() is not None]
