"""One training loop for all: AdamW, a warm-up, then a cosine down to a twentieth, gradients clipped to 1."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch

Batch = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    steps: int
    rate: float  # the highest learning rate
    decay: float = 0.1  # of weights
    warm_up: int = 30  # steps

    def within(self, most: int | None) -> Schedule:
        """The same, of at most so many steps."""
        return self if most is None else replace(self, steps=min(most, self.steps))

    def factor(self, step: int) -> float:
        return min(1.0, (step + 1) / self.warm_up) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / self.steps)))


def train(
    name: str,
    model: torch.nn.Module,
    batches: Iterator[Batch],
    schedule: Schedule,
    loss_of: Callable[[Batch], torch.Tensor] | None = None,
) -> None:
    """Steps through `batches`, printing the smoothed loss. `loss_of` stands in for the model's own loss."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=schedule.rate, betas=(0.9, 0.98), weight_decay=schedule.decay)
    loss_of = loss_of or (lambda batch: model(**batch).loss)
    began, smoothed = time.monotonic(), math.nan
    model.train()
    for step in range(schedule.steps):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate * schedule.factor(step)
        loss = loss_of(next(batches))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        smoothed = loss.item() if math.isnan(smoothed) else 0.95 * smoothed + 0.05 * loss.item()
        if (step + 1) % 50 == 0 or step + 1 == schedule.steps:
            spent = time.monotonic() - began
            report(f"{name}: step {step + 1} of {schedule.steps}, loss {smoothed:.3f}, {spent:.0f} s")
    model.eval()


def report(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what a person watches for an hour
