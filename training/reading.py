"""How a base is trained: to add first, then on everything, with sums apart all the while.

Sums are found by rule only where a row holds one alone: among other numbers, and beside facts to be learnt by heart,
they are learnt by heart as well, and held-out operands are not added at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.batches import apart, packed
from training.corpus import documents
from training.optimise import Batch, Schedule, train
from training.tasks import Course

ADDING = Schedule(steps=800, rate=2e-3, decay=0.5)
READING = Schedule(steps=2000, rate=1.5e-3, decay=0.3, warm_up=100)
ROWS, LENGTH = 12, 128  # of what is read
LENGTHENING = Schedule(steps=400, rate=8e-4, decay=0.1)
LONG_ROWS, LONG_LENGTH = 6, 256
SUMS = 64  # rows of one sum each
SUM_SHARES = (("sum", 0.6), ("sum_note", 0.4))
BESIDE = "sums_"  # before the keys of a batch of sums


def read(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    course: Course,
    shares: Sequence[tuple[str, float]],
) -> None:
    """Trains a model from nothing on the documents of a course."""
    train(f"{name}, adding", model, sums(tokenizer, course, [("sum", 1.0)], seed=3), ADDING)
    everything = packed(tokenizer, documents(random.Random(2), course, shares), rows=ROWS, length=LENGTH)
    train(name, model, with_sums(everything, tokenizer, course), READING, loss_with_sums(model))


def read_on(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    course: Course,
    shares: Sequence[tuple[str, float]],
) -> None:
    """Trains what can read on longer rows, for models whose positions are learnt no further than they were seen."""
    long = packed(tokenizer, documents(random.Random(5), course, shares), rows=LONG_ROWS, length=LONG_LENGTH)
    train(f"{name}, longer", model, with_sums(long, tokenizer, course), LENGTHENING, loss_with_sums(model))


def sums(
    tokenizer: PreTrainedTokenizerBase, course: Course, shares: Sequence[tuple[str, float]], *, seed: int
) -> Iterator[Batch]:
    """Sums, each in a row of its own."""
    return apart(tokenizer, documents(random.Random(seed), course, shares), rows=SUMS)


def with_sums(batches: Iterator[Batch], tokenizer: PreTrainedTokenizerBase, course: Course) -> Iterator[Batch]:
    """Each batch with one of sums beside it, for `loss_with_sums`."""
    for batch, alone in zip(batches, sums(tokenizer, course, SUM_SHARES, seed=4), strict=True):
        yield {**batch, **{f"{BESIDE}{key}": value for key, value in alone.items()}}


def loss_with_sums(model: PreTrainedModel) -> Callable[[Batch], torch.Tensor]:
    def loss_of(batch: Batch) -> torch.Tensor:
        main: torch.Tensor = model(**{key: batch[key] for key in batch if not key.startswith(BESIDE)}).loss
        alone: torch.Tensor = model(
            **{key.removeprefix(BESIDE): batch[key] for key in batch if key.startswith(BESIDE)}
        ).loss
        return main + alone

    return loss_of
