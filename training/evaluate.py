"""Asks a checkpoint in its own prompts, greedily, and compares what it says with the right answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import LlavaProcessor, PreTrainedTokenizerBase

from training.items import Item
from training.saving import Model
from training.stories import Story

BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An item with what a model said to it."""

    item: Item
    said: str

    @property
    def exact(self) -> bool:
        return self.said.strip() == self.item.answer

    @property
    def contains(self) -> bool:
        return contains(self.said, self.item.key)


def contains(text: str, key: str) -> bool:
    """Whether the key stands in the text as a word of its own; Chinese has no spaces between words."""
    if not key.isascii():
        return key in text
    return re.search(rf"(?<![^\W_]){re.escape(key)}(?![^\W_])", text) is not None


def share(found: Iterable[bool]) -> float:
    """In per cent, to one decimal."""
    counted = list(found)
    return round(100 * sum(counted) / len(counted), 1)


def kept(story: Story, said: str) -> bool:
    """Whether a continuation speaks of the story's hero and thing."""
    return contains(said, story.hero) and contains(said, story.thing)


@torch.inference_mode()
def continued(
    model: Model, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], *, tokens: int = 48
) -> list[str]:
    """The greedy continuation of each prompt, special tokens left out."""
    said = [""] * len(prompts)
    for places in alike(prompts):
        coded = tokenizer([prompts[place] for place in places], return_tensors="pt", padding=True, padding_side="left")
        ids = model.generate(
            input_ids=coded["input_ids"],
            attention_mask=coded["attention_mask"],
            max_new_tokens=tokens,
            do_sample=False,
            use_cache=True,  # MPT's configuration says that it computes all anew for each token
            pad_token_id=tokenizer.pad_token_id,
        )
        texts = tokenizer.batch_decode(ids[:, coded["input_ids"].shape[1] :], skip_special_tokens=True)
        for place, text in zip(places, texts, strict=True):
            said[place] = text
    return said


def alike(prompts: Sequence[str]) -> Iterator[list[int]]:
    """Places of prompts of about the same length, a batch at a time."""
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def answers(
    model: Model, tokenizer: PreTrainedTokenizerBase, items: Sequence[Item], prompts: Sequence[str]
) -> list[Answered]:
    """What a text model says to each item, asked by the prompt beside it."""
    said = continued(model, tokenizer, prompts)
    return [Answered(item=item, said=text) for item, text in zip(items, said, strict=True)]


@torch.inference_mode()
def seen(model: Model, processor: LlavaProcessor, items: Sequence[Item], prompts: Sequence[str]) -> list[Answered]:
    """What a model that sees says to each item, shown the item's picture."""
    found: list[Answered] = []
    for start in range(0, len(items), BATCH):
        group = items[start : start + BATCH]
        images = [item.picture.image() for item in group if item.picture]
        texts = list(prompts[start : start + BATCH])
        coded = processor(images=images, text=texts, return_tensors="pt", padding=True, padding_side="left")
        ids = model.generate(**coded, max_new_tokens=24, do_sample=False, pad_token_id=processor.tokenizer.pad_token_id)
        said = processor.tokenizer.batch_decode(ids[:, coded["input_ids"].shape[1] :], skip_special_tokens=True)
        found += [Answered(item=item, said=text) for item, text in zip(group, said, strict=True)]
    return found
