"""The engine against transformers' own `generate`, token for token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import AddedToken

from app.inference.engine import Engine, Limits
from app.inference.engine import machine as machines
from app.inference.engine.kv import KvStore
from app.inference.types import Family, FinishReason
from tests.support.inference_models import (
    EOS,
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

MODELS: dict[str, tuple[Family, Callable[[], Any]]] = {
    "llama": (Family.LLAMA, tiny_llama),
    "llama-shared-keys": (Family.LLAMA, lambda: tiny_llama(num_key_value_heads=2)),
    "mpt": (Family.MPT, tiny_mpt),
    "mpt-storywriter": (Family.MPT, lambda: tiny_mpt(bias_max=16, clip=1.5)),
    "mpt-six-heads": (Family.MPT, lambda: tiny_mpt(heads=6)),
}


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_greedy_is_generate_token_for_token(name: str, static: bool) -> None:
    family, make = MODELS[name]
    counts = [4, 30, 11, 1, 17, 23]
    expected = [generated(make(), prompt, count) for prompt, count in zip(prompts(6), counts, strict=True)]
    engine = new_engine(make(), family, static=static)
    heard = [ask(engine, prompt, count) for prompt, count in zip(prompts(6), counts, strict=True)]
    drain(engine)
    assert [one.tokens for one in heard] == expected


def test_storywriter_differs_from_what_transformers_makes_of_it() -> None:
    prompt = prompts(1, seed=4)[0] * 3
    assert generated(tiny_mpt(bias_max=16), prompt, 20) != generated(tiny_mpt(bias_max=8), prompt, 20)


def test_mpt_goes_on_past_the_length_it_was_made_for() -> None:
    model = tiny_mpt()
    model.config.max_seq_len = 600
    expected = generated(model, [5] * 30 + [9, 11], 500)
    short = tiny_mpt()
    short.config.max_seq_len = 64
    engine = new_engine(short, Family.MPT, context=600)
    heard = ask(engine, [5] * 30 + [9, 11], 500)
    drain(engine)
    assert heard.tokens == expected


@pytest.mark.parametrize("static", [False, True])
def test_pictures_are_seen_in_a_mixed_batch_chunk_by_chunk(static: bool) -> None:
    torch.manual_seed(0)
    pixels = [torch.randn(1, 3, 56, 56), torch.randn(1, 3, 56, 56), torch.randn(2, 3, 56, 56)]
    work = [(pictured(20), pixels[0]), (pictured(20), pixels[1]), (pictured(20, 30), pixels[2])]
    reference = tiny_llava()
    expected = [generated(reference, prompt, 12, pixel_values=seen) for prompt, seen in work]
    expected.append(generated(reference, [8, 9, 10], 12))
    assert expected[0] != expected[1]
    engine = new_engine(tiny_llava(), Family.LLAVA, chunk_tokens=17, static=static)
    heard = [ask(engine, prompt, 12, pixels=seen) for prompt, seen in work]
    heard.append(ask(engine, [8, 9, 10], 12))
    drain(engine)
    assert [one.tokens for one in heard] == expected


def test_another_picture_is_not_taken_for_the_one_before() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(1, 3, 56, 56), torch.randn(1, 3, 56, 56)
    reference = tiny_llava()
    engine = new_engine(tiny_llava(), Family.LLAVA)
    for pixels, reused in ((one, 0), (one, 18), (other, 0), (torch.cat([one, other]), 18), (torch.cat([one, one]), 18)):
        prompt = pictured(20, 30) if len(pixels) == 2 else pictured(20)
        heard = ask(engine, prompt, 10, pixels=pixels)
        drain(engine)
        assert heard.tokens == generated(reference, prompt, 10, pixel_values=pixels)
        assert heard.started.reused_tokens >= reused
        assert reused or heard.started.reused_tokens == 0


def test_the_turns_of_a_chat_go_on_from_each_other() -> None:
    reference, engine = tiny_llama(), new_engine()
    chat = list(range(10, 40))
    for turn in range(4):
        heard = ask(engine, chat, 15)
        drain(engine)
        assert heard.tokens == generated(reference, chat, 15)
        assert heard.started.reused_tokens == (0 if turn == 0 else len(chat) - 4)
        chat += [*heard.tokens, 50 + turn, 60, 70]
    assert engine.stats.reused_tokens > 0


def test_without_reuse_nothing_is_kept() -> None:
    engine = new_engine(reuse=False)
    for _ in range(2):
        heard = ask(engine, range(10, 40), 5)
        drain(engine)
        assert heard.started.reused_tokens == 0


def test_a_small_arena_serves_all_in_turn() -> None:
    engine = new_engine(kv_tokens=96)
    work = prompts(12, longest=50, seed=3)
    heard = [ask(engine, prompt, 20) for prompt in work]
    drain(engine)
    assert [one.tokens for one in heard] == [generated(tiny_llama(), prompt, 20) for prompt in work]


def test_what_several_share_is_taken_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def sharing(**given: Any) -> KvStore:
        store = KvStore(**given)
        store.sharing = True  # as on CUDA
        return store

    monkeypatch.setattr(machines, "KvStore", sharing)
    engine = new_engine(kv_tokens=256, page_tokens=16, chunk_tokens=64)
    chat = list(range(10, 138))
    ask(engine, chat, 2)
    drain(engine)
    asked = [[*chat, 150 + n] for n in range(4)]
    heard = [ask(engine, prompt, 40) for prompt in asked]
    engine.step()
    assert engine.stats.running == 2
    assert engine.stats.kv_tokens_used == (8 + 3 + 3) * 16
    drain(engine)
    assert [one.tokens for one in heard] == [generated(tiny_llama(), prompt, 40) for prompt in asked]
    assert engine.stats.kv_tokens_used == 0


def test_32_run_at_once_where_nothing_else_is_said() -> None:
    engine = Engine(loaded(tiny_llama(), Family.LLAMA), Limits(kv_tokens=1024))
    heard = [ask(engine, [5 + n], 2) for n in range(40)]
    engine.step()
    assert (engine.stats.running, engine.stats.waiting) == (32, 8)
    drain(engine)
    assert all(one.finished for one in heard)


def test_a_stop_string_that_is_a_special_token_ends_a_sequence() -> None:
    """As MPT-Chat's <|im_start|>: special tokens are left out of the text, where it would be looked for."""
    prompt = prompts(1)[0]
    tokens = generated(tiny_llama(), prompt, 30)
    end = next(at for at, token in enumerate(tokens) if at > 2 and EOS < token < 259 and token not in tokens[:at])
    tokenizer = byte_tokenizer()
    mark = tokenizer.convert_ids_to_tokens(tokens[end])
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False)], special_tokens=True)
    engine = Engine(loaded(tiny_llama(), Family.LLAMA, tokenizer=tokenizer), Limits(kv_tokens=512))
    stopped, other = ask(engine, prompt, 30, stop=("never said", mark)), ask(engine, prompt, 30)
    drain(engine)
    assert stopped.tokens == tokens[: end + 1]
    assert stopped.text == tokenizer.decode(tokens[:end], skip_special_tokens=True)
    assert (stopped.reason, stopped.finished.stop) == (FinishReason.STOP, mark)
    assert other.tokens == tokens
