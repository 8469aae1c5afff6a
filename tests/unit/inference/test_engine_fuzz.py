"""More than a thousand requests at random times, in batches of every size, some cancelled: each exact, none lost."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from app.inference.engine import Engine, Limits
from app.inference.types import Family
from tests.support.inference_models import Heard, ask, generated, loaded, random_adapter, tiny_llama, tiny_mpt

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = 24  # different ones, each asked for many times
LONGEST = 16  # tokens of an answer


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
]


def small(family: Family) -> Any:
    if family is Family.MPT:
        return tiny_mpt(bias_max=16, clip=1.5)
    return tiny_llama(num_key_value_heads=2)


def answers(family: Family, adapted: bool) -> dict[tuple[int, ...], list[int]]:
    """What `generate` says to each prompt. With an adapter, an engine that serves nothing else says it."""
    chance = random.Random(9)
    shared = [chance.randrange(3, 290) for _ in range(20)]  # some begin alike
    asked = [shared[: chance.choice((0, 12, 20))] + [chance.randrange(3, 290) for _ in range(chance.randint(1, 40))]
             for _ in range(PROMPTS)]  # fmt: skip
    if not adapted:
        model = small(family)
        return {tuple(prompt): generated(model, prompt, LONGEST) for prompt in asked}
    engine = adapted_engine(family, Limits(max_running=1, reuse=False, kv_tokens=128))
    return {tuple(prompt): alone(engine, prompt) for prompt in asked}


def alone(engine: Engine, prompt: list[int]) -> list[int]:
    heard = ask(engine, prompt, LONGEST, adapter="other")
    while not engine.idle:
        engine.step()
    return heard.tokens


def adapted_engine(family: Family, limits: Limits) -> Engine:
    model = small(family)
    path = "transformer.blocks.1.attn.Wqkv" if family is Family.MPT else "model.layers.1.self_attn.q_proj"
    adapter = random_adapter(model, "other", [path], rank=4, seed=1)
    return Engine(loaded(model, family, adapters={"other": adapter}), limits)


@pytest.fixture(scope="module")
def known() -> dict[tuple[Family, bool], dict[tuple[int, ...], list[int]]]:
    return {
        (family, adapted): answers(family, adapted)
        for family in (Family.LLAMA, Family.MPT)
        for adapted in (False, True)
    }


def test_there_are_a_thousand() -> None:
    assert sum(count for _, _, count in SETTINGS) >= 1000


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_every_answer_is_exact_and_nothing_is_lost(
    number: int, known: dict[tuple[Family, bool], dict[tuple[int, ...], list[int]]]
) -> None:
    family, limits, count = SETTINGS[number]
    chance = random.Random(number)
    engine = adapted_engine(family, limits)
    asked: list[Asked] = []
    while len(asked) < count or not engine.idle:
        for _ in range(min(chance.choice((0, 0, 0, 1, 2, 6)), count - len(asked))):
            adapter = chance.choice((None, "other"))
            prompt, answer = chance.choice(list(known[family, adapter is not None].items()))
            length, name = chance.randint(1, LONGEST), str(len(asked))
            client = chance.choice("abc")
            heard = ask(engine, prompt, length, name=name, adapter=adapter, client=client)
            asked.append(Asked(name, heard, answer[:length]))
        if asked and chance.random() < 0.05:
            cancel(engine, chance.choice(asked))
        engine.step()
    for one in asked:
        check(one)
    assert engine.stats.running == engine.stats.waiting == engine.stats.kv_tokens_used == 0


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
