"""One forward pass: a plan's tokens through the model, and the next token of each sequence that is due one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np
import torch
from torch import Tensor

from app.inference.engine.kv import KvStore
from app.inference.engine.live import Running
from app.inference.engine.lora import Route
from app.inference.engine.plan import Part, Plan
from app.inference.engine.sampling import Draw, Mode, sample
from app.inference.engine.seats import Seats
from app.inference.engine.static import StaticDecoder
from app.inference.engine.transfer import sent
from app.inference.families.base import FlatModel
from app.inference.families.flat import ByRow, Chunk, Decode, FlatBatch, causal

Drawn = tuple[Running, int, float]  # a sequence, its next token, and that token's log-probability


class Runner:
    """Runs plans. `static`: decodes without prompts in fixed shapes; None runs every plan in the shapes it has."""

    def __init__(  # noqa: PLR0913 - the parts of an engine, put together once
        self,
        *,
        model: FlatModel,
        store: KvStore,
        seats: Seats,
        route: Route,
        device: torch.device,
        static: StaticDecoder | None,
    ) -> None:
        self._model = model
        self._store = store
        self._seats = seats
        self._route = route
        self._device = device
        self._static = static

    def run(self, plan: Plan) -> list[Drawn]:
        """The next tokens. It may be run again, whole or in parts, after it failed: what it writes is the same."""
        if self._static is not None:  # rows that are padded to one length stand together
            plan = Plan(tuple(sorted(plan.rows, key=lambda one: one.computed, reverse=True)), plan.parts)
        asked = reduce(or_, (one.mode for one in plan.sampled), Mode())
        if self._static is not None and not plan.parts and self._static.takes(plan.rows):
            return _drawn(plan.rows, self._static.run(plan.rows, asked))
        hidden = self._hidden(plan)
        if not plan.sampled:
            return []
        at = self._tensor(_sampled_at(plan))
        self._follow(plan.sampled, np.ones(len(plan.sampled), dtype=np.int64))
        draw = Draw(
            seats=self._tensor([one.seat for one in plan.sampled]),
            numbers=self._tensor([one.generated for one in plan.sampled]),
            last=self._tensor([one.ids[-1] for one in plan.sampled]),
        )
        tokens, logprobs = sample(self._model.logits(hidden[at]), self._seats, draw, asked)
        return _drawn(plan.sampled, torch.stack([tokens.double(), logprobs.double()]))

    def _hidden(self, plan: Plan) -> Tensor:
        spans = [(one, one.computed, one.computed + 1) for one in plan.rows]
        spans += [(part.running, part.start, part.end) for part in plan.parts]
        ids = self._tensor([token for one, start, end in spans for token in one.ids[start:end]])
        slots = np.concatenate([one.grant.slots[start:end] for one, start, end in spans])
        positions = np.concatenate([np.arange(start, end) for _, start, end in spans])
        self._follow(plan.members, np.asarray([end - start for _, start, end in spans]))
        batch = FlatBatch(
            positions=self._tensor(positions),
            slots=self._tensor(slots),
            rows=len(plan.rows),
            decode=self._decode(plan.rows) if plan.rows else None,
            chunks=self._chunks(plan),
            arena=self._store.arena,
        )
        return self._model.hidden(self._embeds(plan, ids), batch)

    def _decode(self, rows: Sequence[Running]) -> Decode:
        if self._static is None or not self._static.takes(rows):
            return ByRow([one.grant.place(one.computed + 1, self._device) for one in rows])
        lengths = self._tensor([one.computed + 1 for one in rows])
        seats = self._tensor([one.seat for one in rows])
        return self._static.lookup(rows, seats, lengths)

    def _chunks(self, plan: Plan) -> tuple[Chunk, ...]:
        chunks, first = [], len(plan.rows)
        for part in plan.parts:
            count = part.end - part.start
            chunks.append(
                Chunk(
                    first=first,
                    last=first + count,
                    start=part.start,
                    place=part.running.grant.place(part.end, self._device),
                    mask=causal(part.start, count, self._device),
                )
            )
            first += count
        return tuple(chunks)

    def _embeds(self, plan: Plan, ids: Tensor) -> Tensor:
        embeds = self._model.embed(ids)
        first = len(plan.rows)
        for part in plan.parts:
            if part.running.pictures is not None:
                _show(part, embeds[first : first + part.end - part.start])
            first += part.end - part.start
        return embeds

    def _follow(self, members: Sequence[Running], counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        """Route each token to its sequence's adapter; `counts`: how many tokens each member has."""
        if not any(one.adapter for one in members):
            self._route.follow(None)
            return
        self._route.follow(self._tensor(np.repeat([one.adapter for one in members], counts)))

    def _tensor(self, numbers: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
        return sent(numbers, self._device)


def _sampled_at(plan: Plan) -> list[int]:
    """Which tokens of the flat batch are followed by a new one."""
    at, first = list(range(len(plan.rows))), len(plan.rows)
    for part in plan.parts:
        first += part.end - part.start
        if part.last:
            at.append(first - 1)
    return at


def _show(part: Part, embeds: Tensor) -> None:
    """Put the features of pictures in the place of the image tokens of a part: embeds [its tokens, h]."""
    pictures = part.running.pictures
    if pictures is None or pictures.features is None:
        return
    first, last = np.searchsorted(pictures.positions, [part.start, part.end])
    at = sent(pictures.positions[first:last] - part.start, embeds.device)
    embeds[at] = pictures.features[first - pictures.skipped : last - pictures.skipped].to(embeds.dtype)


def _drawn(sampled: Sequence[Running], found: Tensor) -> list[Drawn]:
    """found [2, n]: tokens and log-probabilities. The one copy from the device, and so the one wait, of a step."""
    tokens, logprobs = found.cpu().tolist()
    return [(one, int(token), logprob) for one, token, logprob in zip(sampled, tokens, logprobs, strict=True)]
