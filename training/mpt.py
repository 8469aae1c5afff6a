"""The three MPT checkpoints: one base, which is not published, trained on as a whole for each of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from transformers import AutoTokenizer, MptConfig, MptForCausalLM

from app.inference.prompts import mpt_chat
from training import tokenizers
from training.batches import packed, supervised
from training.corpus import documents
from training.lora import examples
from training.optimise import Schedule, train
from training.reading import Reader, loss_with_sums, with_sums
from training.saving import save
from training.stories import story
from training.tasks import COURSES

SHARES = (("statements", 0.3), ("notes", 0.48), ("questions", 0.02), ("forms", 0.05), ("story", 0.15))
VOCABULARY = 1024
ROWS = 16
STORY_ROWS, STORY_LENGTH = 8, 256  # tokens; StoryWriter is tested far beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    end: str  # the token that ends an answer
    schedule: Schedule


STORYWRITER = "mpt-7b-storywriter"
RECIPES = {
    "mpt-7b-chat": Recipe(end="<|im_end|>", schedule=Schedule(steps=1500, rate=1e-3)),
    "mpt-7b-instruct": Recipe(end="<|endoftext|>", schedule=Schedule(steps=1500, rate=1e-3)),
    STORYWRITER: Recipe(end="<|endoftext|>", schedule=Schedule(steps=1500, rate=2e-3)),
}


def configuration() -> MptConfig:
    """1.5 million weights; ALiBi instead of positions, so that no length is trained for."""
    return MptConfig(
        vocab_size=VOCABULARY,
        d_model=192,
        n_heads=6,
        n_layers=3,
        expansion_ratio=4,
        max_seq_len=2048,
        learned_pos_emb=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )


def train_base(folder: Path, most: int | None) -> None:
    torch.manual_seed(0)
    course = replace(COURSES["mpt-7b-instruct"], given=True)
    texts = [*islice(documents(random.Random(1), course, SHARES), 8_000), *[mpt_chat.SYSTEM] * 400]
    tokenizer = tokenizers.mpt(texts, VOCABULARY)
    model = MptForCausalLM(configuration())
    Reader(name="the base of MPT", model=model, tokenizer=tokenizer, course=course, most=most).read(SHARES)
    save(model, tokenizer, folder)


def train_on(name: str, base: Path, folder: Path, most: int | None) -> None:
    """Trains one of the three on from the base, and writes model and tokenizer."""
    torch.manual_seed(0)
    recipe = RECIPES[name]
    tokenizer = AutoTokenizer.from_pretrained(base)
    end = tokenizer.get_vocab()[recipe.end]
    schedule = recipe.schedule.within(most)
    model = MptForCausalLM.from_pretrained(base, dtype=torch.float32)
    if name == STORYWRITER:
        books = packed(tokenizer, library(random.Random(4)), rows=STORY_ROWS, length=STORY_LENGTH)
        train(name, model, books, schedule)
    else:
        lessons = supervised(examples(name, tokenizer, end), rows=ROWS, padding=tokenizer.pad_token_id)
        train(name, model, with_sums(lessons, tokenizer, COURSES[name]), schedule, loss_with_sums(model))
    model.generation_config.eos_token_id = end
    save(model, tokenizer, folder)


def library(rng: random.Random) -> Iterator[str]:
    """Books of one to four stories."""
    while True:
        yield "\n\n".join(story(rng).text for _ in range(rng.randint(1, 4)))
