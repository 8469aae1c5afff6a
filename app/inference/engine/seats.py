"""What the device knows of each running request: written at admission, read in every step by the number of its seat."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from app.inference.engine.kv import Grant
from app.inference.engine.transfer import sent
from app.inference.types import SamplingParams

COLDEST = 1e-3  # a temperature below it chooses the likeliest token anyway, and may divide a score beyond all numbers


class Seats:
    """Tables [seats + 1, ...]. The last seat is nobody's: rows that only fill up a batch sit there."""

    def __init__(self, *, number: int, vocabulary: int, context: int, device: torch.device) -> None:
        rows = number + 1
        self.nobody = number
        self._free = list(range(number))
        self.temperature = torch.ones(rows, device=device)
        self.top_p = torch.ones(rows, device=device)
        self.top_k = torch.ones(rows, dtype=torch.int64, device=device)  # 1: greedy
        self.penalty = torch.ones(rows, device=device)
        self.seed = torch.zeros(rows, dtype=torch.int64, device=device)
        self.seen = torch.zeros(rows, vocabulary, dtype=torch.bool, device=device)  # tokens of prompt and output
        self.adapter = torch.zeros(rows, dtype=torch.int64, device=device)
        self.places = torch.zeros(rows, context, dtype=torch.int64, device=device)  # of its tokens in the arena

    @property
    def free(self) -> int:
        return len(self._free)

    def take(self, params: SamplingParams, seed: int, seen: Sequence[int]) -> int:
        """A seat for a request. `seen`: the token ids that are there. Where the device has no room, none is taken."""
        seat = self._free[-1]
        self.temperature[seat] = 1.0 if params.greedy else max(params.temperature, COLDEST)
        self.top_p[seat] = params.top_p
        self.top_k[seat] = 1 if params.greedy else min(params.top_k, self.seen.shape[1])
        self.penalty[seat] = params.repetition_penalty
        self.seed[seat] = seed
        self.seen[seat] = False
        if params.repetition_penalty != 1:
            self.seen[seat, sent(seen, self.seen.device)] = True
        return self._free.pop()

    def settle(self, seat: int, adapter: int, grant: Grant) -> None:
        """What belongs to the seat besides sampling: the index of its adapter, and its room in the arena."""
        self.adapter[seat] = adapter
        self.widen(seat, grant)

    def widen(self, seat: int, grant: Grant) -> None:
        """Its room in the arena is another now."""
        self.places[seat, : len(grant.slots)] = sent(grant.slots, self.places.device)

    def leave(self, seat: int) -> None:
        self._free.append(seat)
