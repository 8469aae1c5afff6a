"""Texts to tensors: packed rows to read, and questions with answers, of which only the answers are learnt."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from transformers import PreTrainedTokenizerBase

from training.optimise import Batch

IGNORED = -100  # a label that no loss counts
BUCKET = 16  # batches sorted by length together, so that little is padded


def packed(tokenizer: PreTrainedTokenizerBase, texts: Iterator[str], *, rows: int, length: int) -> Iterator[Batch]:
    """`rows` of `length` tokens, documents end to end, each with the end token behind it."""
    held: list[int] = []
    while True:
        while len(held) < rows * length:
            held += [*tokenizer(next(texts))["input_ids"], tokenizer.eos_token_id]
        ids = torch.tensor(held[: rows * length]).view(rows, length)
        del held[: rows * length]
        yield {"input_ids": ids, "labels": ids}


def apart(tokenizer: PreTrainedTokenizerBase, texts: Iterator[str], *, rows: int) -> Iterator[Batch]:
    """One text to a row, all of it learnt, with the end token."""
    while True:
        coded = [(*tokenizer(text)["input_ids"], tokenizer.eos_token_id) for text in islice(texts, rows)]
        yield padded([Example(ids=ids, learnt=0) for ids in coded], tokenizer.pad_token_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Token ids; those from `learnt` on are the answer."""

    ids: tuple[int, ...]
    learnt: int


def example(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, end: int) -> Example:
    """The prompt's tokens are those it has by itself, as it will be asked; `end` is learnt with the answer."""
    head = tokenizer(prompt)["input_ids"]
    whole = tokenizer(prompt + answer)["input_ids"]
    if whole[: len(head)] != head:
        raise ValueError(f"The tokenizer joins the end of a prompt to the answer: {prompt[-20:]!r} {answer[:20]!r}")
    return Example(ids=(*whole, end), learnt=len(head))


def supervised(examples: Iterator[Example], *, rows: int, padding: int) -> Iterator[Batch]:
    while True:
        bucket = sorted(islice(examples, rows * BUCKET), key=lambda each: len(each.ids))
        groups = [bucket[start : start + rows] for start in range(0, len(bucket), rows)]
        random.Random(len(bucket[0].ids)).shuffle(groups)
        for group in groups:
            yield padded(group, padding)


def padded(group: Sequence[Example], padding: int) -> Batch:
    """Padded on the right: where nothing is learnt, nothing looks at what follows."""
    length = max(len(each.ids) for each in group)
    ids = torch.full((len(group), length), padding)
    labels = torch.full((len(group), length), IGNORED)
    mask = torch.zeros(len(group), length, dtype=torch.long)
    for row, each in enumerate(group):
        size = len(each.ids)
        ids[row, :size] = torch.tensor(each.ids)
        mask[row, :size] = 1
        labels[row, each.learnt : size] = ids[row, each.learnt : size]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
