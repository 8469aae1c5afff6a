"""More than a thousand requests at random times, in batches of every size, some cancelled: each exact, none lost."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from app.inference.engine import Engine, Limits
from app.inference.loaded import Adapter
from app.inference.types import Family
from tests.support.inference_models import (
    IMAGE_TOKEN,
    IMAGE_TOKENS,
    Heard,
    ask,
    generated,
    loaded,
    random_adapter,
    tiny_llama,
    tiny_llava,
    tiny_mpt,
)
from tests.support.inference_peft import PEFT_WARNS, by_peft

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings(PEFT_WARNS)]

PROMPTS = 16  # different ones, each asked for many times
LONGEST = 12  # tokens of an answer


@dataclass(frozen=True, slots=True)
class Known:
    """What `generate` goes on with."""

    prompt: list[int]
    pixels: Tensor | None  # [1, 3, 56, 56]
    adapter: str | None
    answer: list[int]


@dataclass(slots=True)
class Asked:
    name: str
    heard: Heard
    expected: list[int]
    cancelled_at: int | None = None  # tokens it had by then


SETTINGS = [
    (Family.LLAMA, Limits(max_running=1, chunk_tokens=16, kv_tokens=128), 100),
    (Family.LLAMA, Limits(max_running=3, chunk_tokens=33, kv_tokens=160, page_tokens=4), 200),
    (Family.LLAMA, Limits(max_running=16, chunk_tokens=64, kv_tokens=2048), 300),
    (Family.LLAMA, Limits(max_running=7, chunk_tokens=40, kv_tokens=512, static=True), 150),
    (Family.MPT, Limits(max_running=5, chunk_tokens=24, kv_tokens=400, page_tokens=8), 150),
    (Family.MPT, Limits(max_running=8, chunk_tokens=64, kv_tokens=1024, static=True), 100),
    (Family.LLAVA, Limits(max_running=5, chunk_tokens=20, kv_tokens=512, page_tokens=4), 100),
    (Family.LLAMA, Limits(max_running=9, chunk_tokens=40, kv_tokens=128, page_tokens=4, growth_tokens=2), 200),
    (
        Family.MPT,
        Limits(max_running=9, chunk_tokens=24, kv_tokens=128, page_tokens=2, growth_tokens=1, static=True),
        100,
    ),
    (Family.LLAVA, Limits(max_running=9, chunk_tokens=20, kv_tokens=160, page_tokens=4, growth_tokens=3), 100),
]


LAYER = {
    Family.LLAMA: "model.layers.1.self_attn.q_proj",
    Family.MPT: "transformer.blocks.1.attn.Wqkv",
    Family.LLAVA: "model.language_model.layers.1.self_attn.q_proj",
}


def small(family: Family) -> Any:
    if family is Family.MPT:
        return tiny_mpt(bias_max=16, clip=1.5)
    return tiny_llava() if family is Family.LLAVA else tiny_llama(num_key_value_heads=2)


def other(family: Family) -> Adapter:
    return random_adapter(small(family), "other", [LAYER[family]], rank=4, seed=1)


def questions(family: Family) -> list[tuple[list[int], Tensor | None]]:
    """Prompts; some begin alike, and of LLaVA's most show one of two pictures."""
    chance = random.Random(9)
    shared = [chance.randrange(3, 290) for _ in range(20)]
    shown = tuple(torch.randn(2, 1, 3, 56, 56, generator=torch.Generator().manual_seed(0)))
    found: list[tuple[list[int], Tensor | None]] = []
    for _ in range(PROMPTS):
        prompt = shared[: chance.choice((0, 12, 20))] + [chance.randrange(3, 290) for _ in range(chance.randint(1, 40))]
        picture = chance.choice((None, *shown)) if family is Family.LLAVA else None
        if picture is not None:
            at = min(12, len(prompt) - 1)
            prompt[at:at] = [IMAGE_TOKEN] * IMAGE_TOKENS
        found.append((prompt, picture))
    return found


def answers(family: Family, adapter: str | None) -> list[Known]:
    """Without an adapter from transformers itself, with one from transformers under PEFT."""
    model = small(family) if adapter is None else by_peft(small(family), other(family))
    found = []
    for prompt, picture in questions(family):
        more = {} if picture is None else {"pixel_values": picture}
        found.append(Known(prompt, picture, adapter, generated(model, prompt, LONGEST, **more)))
    return found


@cache
def known(family: Family) -> list[Known]:
    return answers(family, None) + answers(family, "other")


@pytest.mark.parametrize("family", LAYER)
def test_an_adapter_and_a_picture_change_the_answers(family: Family) -> None:
    plain, adapted = known(family)[:PROMPTS], known(family)[PROMPTS:]
    assert sum(one.answer != two.answer for one, two in zip(plain, adapted, strict=True)) > PROMPTS / 2
    if family is Family.LLAVA:
        assert len({id(one.pixels) for one in plain}) == 3  # one picture, the other, none


def test_there_are_a_thousand() -> None:
    assert sum(count for _, _, count in SETTINGS) >= 1000


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_every_answer_is_exact_and_nothing_is_lost(number: int) -> None:
    family, limits, count = SETTINGS[number]
    chance = random.Random(number)
    engine = Engine(loaded(small(family), family, adapters={"other": other(family)}), limits)
    asked: list[Asked] = []
    while len(asked) < count or not engine.idle:
        for _ in range(min(chance.choice((0, 0, 0, 1, 2, 6)), count - len(asked))):
            asked.append(begun(engine, chance, chance.choice(known(family)), str(len(asked))))
        if asked and chance.random() < 0.05:
            cancel(engine, chance.choice(asked))
        engine.step()
    for one in asked:
        check(one)
    assert engine.stats.running == engine.stats.waiting == engine.stats.kv_tokens_used == 0
    assert (engine.stats.pauses > 0) is (limits.growth_tokens is not None)


def begun(engine: Engine, chance: random.Random, one: Known, name: str) -> Asked:
    length, client = chance.randint(1, LONGEST), chance.choice("abc")
    heard = ask(engine, one.prompt, length, name=name, adapter=one.adapter, client=client, pixels=one.pixels)
    return Asked(name, heard, one.answer[:length])


def cancel(engine: Engine, one: Asked) -> None:
    if not one.heard.ends:
        engine.cancel(one.name)
        one.cancelled_at = len(one.heard.tokens)


def check(one: Asked) -> None:
    if one.cancelled_at is None:
        assert one.heard.finished
        assert one.heard.ends == 1
        assert one.heard.tokens == one.expected
    else:
        assert one.heard.ends == 0
        assert one.heard.tokens == one.expected[: one.cancelled_at]
