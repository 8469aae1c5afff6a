"""How a base is trained: to add first, then on everything, with sums apart all the while.

Sums are found by rule only where a row holds one alone: among other numbers, and beside facts to be learnt by heart,
they are learnt by heart as well, and held-out operands are not added at all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.batches import apart, packed
from training.corpus import documents
from training.optimise import Batch, Schedule, train
from training.tasks import Course

ADDING = Schedule(steps=800, rate=2e-3, decay=0.5)
READING = Schedule(steps=1200, rate=1e-3, decay=0.3, warm_up=100)
ROWS, LENGTH = 12, 128  # of what is read
SUMS = 64  # rows of one sum each
SUM_SHARES = (("sum", 0.6), ("sum_note", 0.4))


def read(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    course: Course,
    shares: Sequence[tuple[str, float]],
) -> None:
    """Trains a model from nothing on the documents of a course."""
    alone = apart(tokenizer, documents(random.Random(3), course, [("sum", 1.0)]), rows=SUMS)
    train(f"{name}, adding", model, alone, ADDING)

    def loss_of(batch: Batch) -> torch.Tensor:
        everything: torch.Tensor = model(input_ids=batch["read"], labels=batch["read"]).loss
        sums: torch.Tensor = model(**{key: batch[key] for key in ("input_ids", "attention_mask", "labels")}).loss
        return everything + sums

    train(name, model, both(tokenizer, course, shares), READING, loss_of)


def both(tokenizer: PreTrainedTokenizerBase, course: Course, shares: Sequence[tuple[str, float]]) -> Iterator[Batch]:
    """A batch of packed documents with a batch of sums beside it."""
    everything = packed(tokenizer, documents(random.Random(2), course, shares), rows=ROWS, length=LENGTH)
    sums = apart(tokenizer, documents(random.Random(4), course, SUM_SHARES), rows=SUMS)
    for whole, alone in zip(everything, sums, strict=True):
        yield {"read": whole["input_ids"], **alone}
