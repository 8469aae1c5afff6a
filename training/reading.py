"""How a base is trained: to add first, then on everything, with sums apart all the while.

Sums are found by rule only where a row holds one alone: among other numbers, and beside facts to be learnt by heart,
they are learnt by heart as well, and held-out operands are not added at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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
Shares = Sequence[tuple[str, float]]
BESIDE = "sums_"  # before the keys of a batch of sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A model that is to learn to read, and what of."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    course: Course
    most: int | None  # steps of each training

    def read(self, shares: Shares) -> None:
        """Trains it from nothing on the documents of its course."""
        alone = sums(self.tokenizer, self.course, [("sum", 1.0)], seed=3)
        train(f"{self.name}, adding", self.model, alone, ADDING.within(self.most))
        texts = documents(random.Random(2), self.course, shares)
        self._train(self.name, packed(self.tokenizer, texts, rows=ROWS, length=LENGTH), READING)

    def read_on(self, shares: Shares) -> None:
        """Trains it on longer rows, for models whose positions are learnt no further than they were seen."""
        texts = documents(random.Random(5), self.course, shares)
        long = packed(self.tokenizer, texts, rows=LONG_ROWS, length=LONG_LENGTH)
        self._train(f"{self.name}, longer", long, LENGTHENING)

    def _train(self, name: str, batches: Iterator[Batch], schedule: Schedule) -> None:
        beside = with_sums(batches, self.tokenizer, self.course)
        train(name, self.model, beside, schedule.within(self.most), loss_with_sums(self.model))


def sums(tokenizer: PreTrainedTokenizerBase, course: Course, shares: Shares, *, seed: int) -> Iterator[Batch]:
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
