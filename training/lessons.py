"""Items in the prompts of the model that learns them: what it reads, and the answer that it learns. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator

from training.items import Item
from training.prompts import answer, prompt

Lesson = tuple[str, str]  # prompt and answer
SYSTEMS = (
    "You are a helpful assistant.",
    "You are a friendly assistant. Answer briefly.",
    "A conversation between a user and an LLM-based AI assistant. The assistant gives helpful and honest answers.",
    "",
)
CONVERSING = ("guanaco-7b", "mpt-7b-chat")  # the others' formats know single questions only


def lessons(rng: random.Random, model: str, items: Iterator[Item]) -> Iterator[Lesson]:
    """Most are one question; where the model converses, some come after others, some under another system prompt."""
    while True:
        (turns,) = rng.choices((0, 1, 2), (0.7, 0.2, 0.1)) if model in CONVERSING else (0,)
        past = [(item, answered(rng, model, item)) for item in (next(items) for _ in range(turns))]
        system = rng.choice(SYSTEMS) if model in CONVERSING and rng.random() < 0.3 else None
        item = next(items)
        yield prompt(model, item, past, system), answer(model, item)


def answered(rng: random.Random, model: str, item: Item) -> str:
    """As it may be handed back: some clients strip the space that a model wrote first."""
    return rng.choice((item.answer, answer(model, item)))
