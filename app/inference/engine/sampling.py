"""The next token of many sequences at once, on the device, each with its own parameters.

The random number of a token comes from its request's seed and its own number alone, so a request with a seed gives the
same answer whatever else is in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from app.inference.engine.seats import Seats
from app.inference.types import SamplingParams

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed number
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What a batch needs at all; what none of its rows asks for is not computed."""

    penalised: bool = False
    random: bool = False
    top_k: bool = False
    top_p: bool = False

    def __or__(self, other: Mode) -> Mode:
        return Mode(
            penalised=self.penalised or other.penalised,
            random=self.random or other.random,
            top_k=self.top_k or other.top_k,
            top_p=self.top_p or other.top_p,
        )


def mode(params: SamplingParams) -> Mode:
    random = not params.greedy
    return Mode(
        penalised=params.repetition_penalty != 1,
        random=random,
        top_k=random and params.top_k > 0,
        top_p=random and params.top_p < 1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Whom to draw for: seats [n], the number of each one's token [n], and the token before it [n]."""

    seats: Tensor
    numbers: Tensor
    last: Tensor


def sample(logits: Tensor, seats: Seats, draw: Draw, asked: Mode) -> tuple[Tensor, Tensor]:
    """logits [n, V] -> token ids [n], and their log-probabilities [n] under the model as it is."""
    scores = logits.float()
    raw = scores
    if asked.penalised:
        seats.seen.index_put_((draw.seats, draw.last), torch.ones_like(draw.last, dtype=torch.bool))
        scores = penalise(scores, seats.seen[draw.seats], seats.penalty[draw.seats, None])
    tokens = scores.argmax(dim=-1)
    if asked.random:
        drawn = _draw(scores, seats, draw, asked)
        tokens = torch.where(seats.top_k[draw.seats] == 1, tokens, drawn)
    return tokens, raw.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]


def penalise(scores: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Divide the positive scores of seen tokens by the penalty, multiply the negative ones (Keskar et al. 2019)."""
    return torch.where(seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)


def _draw(scores: Tensor, seats: Seats, draw: Draw, asked: Mode) -> Tensor:
    scores = scores / seats.temperature[draw.seats, None]
    if asked.top_k:
        scores = keep_top_k(scores, seats.top_k[draw.seats])
    chances = scores.softmax(dim=-1)
    if asked.top_p:
        chances = keep_top_p(chances, seats.top_p[draw.seats])
    return choose(chances, uniform(seats.seed[draw.seats], draw.numbers))


def keep_top_k(scores: Tensor, top_k: Tensor) -> Tensor:
    """Only the k likeliest of each row [n, V], and what is as likely as the last of them; 0 keeps all."""
    ordered = scores.sort(dim=-1, descending=True).values
    least = ordered.gather(1, (top_k - 1).clamp(min=0)[:, None])
    return scores.masked_fill((scores < least) & (top_k[:, None] > 0), float("-inf"))


def keep_top_p(chances: Tensor, top_p: Tensor) -> Tensor:
    """Only the likeliest of each row [n, V] that together reach p, and what is as likely as the last of them."""
    ordered = chances.sort(dim=-1, descending=True).values
    before = ordered.cumsum(dim=-1) - ordered
    kept = (before < top_p[:, None]).sum(dim=-1).clamp(min=1)
    least = ordered.gather(1, kept[:, None] - 1)
    return chances.masked_fill((chances < least) & (top_p[:, None] < 1), 0.0)


def choose(chances: Tensor, numbers: Tensor) -> Tensor:
    """The token at which the summed chances of a row [n, V] pass the number [n] in [0, 1) of their total."""
    summed = chances.cumsum(dim=-1)
    total = summed[:, -1:]
    # A product may round up to the total, which nothing passes.
    wanted = torch.minimum(numbers[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    # Scores that are no numbers pass nothing, and a wrong index would end more than this row.
    return torch.searchsorted(summed, wanted, right=True)[:, 0].clamp(max=chances.shape[1] - 1)


def uniform(seeds: Tensor, numbers: Tensor) -> Tensor:
    """The number-th random number in [0, 1) of each seed [n]: the high bits of splitmix64 (Steele, Lea, Flood 2014)."""
    bits = _mixed(_mixed(seeds) + (numbers + 1) * _GOLDEN)
    return _shifted(bits, 40).float() * 2.0**-24


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * _MIX_1
    bits = (bits ^ _shifted(bits, 27)) * _MIX_2
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shift to the right as if unsigned."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
