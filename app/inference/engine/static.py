"""Decoding in fixed shapes: rows and lengths rounded up to buckets, all inputs in one buffer; on CUDA, as graphs.

A decoding step of a 7B model launches about a thousand small kernels; replaying them as one graph is what keeps the
device busy at few rows. Without CUDA the same code runs as it is, so that tests reach everything but the capture.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from app.inference.engine.buckets import Block, blocks, bucket, tokens
from app.inference.engine.graphs import Record, Recording
from app.inference.engine.live import Running
from app.inference.engine.lora import Route
from app.inference.engine.sampling import Draw, Mode, sample
from app.inference.engine.seats import Seats
from app.inference.families.base import FlatModel
from app.inference.families.flat import AT_ONCE, Arena, Blocks, Decode, FlatBatch, Gathered
from app.inference.faults import is_lost

log = logging.getLogger(__name__)

MAX_GRAPHS = 64  # recorded at once; the one that was not replayed for longest makes room
_INPUTS = 4  # of a row: token, seat, position, number of the token that is drawn


@dataclass(frozen=True, slots=True)
class Shape:
    """What a graph is made for."""

    blocks: tuple[Block, ...]
    asked: Mode
    adapted: bool

    @property
    def rows(self) -> int:
        return sum(block.rows for block in self.blocks)


class StaticDecoder:
    """Runs plans that only decode. `record`: records each shape once, to be replayed; None runs it each time."""

    def __init__(  # noqa: PLR0913 - the parts of an engine, put together once
        self,
        *,
        model: FlatModel,
        arena: Arena,
        seats: Seats,
        route: Route,
        device: torch.device,
        gather_tokens: int,
        record: Record | None,
    ) -> None:
        self._model = model
        self._arena = arena
        self._seats = seats
        self._route = route
        self._gather_tokens = gather_tokens
        self._record = record
        self._recorded: OrderedDict[Shape, Recording] = OrderedDict()
        rows = 2 * bucket(seats.nobody)  # two blocks may each be padded
        self._inputs = torch.zeros(rows, _INPUTS, dtype=torch.int64, device=device)
        self._staging = torch.zeros(rows, _INPUTS, dtype=torch.int64, pin_memory=device.type == "cuda")

    def takes(self, rows: Sequence[Running]) -> bool:
        """Whether padding these rows copies no more than it may. `rows`: the longest first."""
        found = self._blocks(rows)
        return tokens(found) <= self._gather_tokens and found[0].longest <= AT_ONCE

    def run(self, rows: Sequence[Running], asked: Mode) -> Tensor:
        """[2, n]: the rows' next tokens and their log-probabilities, still on the device. `rows`: the longest first."""
        shape = Shape(self._blocks(rows), asked, any(one.adapter for one in rows))
        self._fill(rows, shape.rows)
        return self._found(shape)[:, : len(rows)]

    def lookup(self, rows: Sequence[Running], seats: Tensor, lengths: Tensor) -> Decode:
        """How rows that decode beside prompts look up what came before: padded, but recorded nowhere."""
        parts, first = [], 0
        for block in self._blocks(rows):
            last = min(first + block.rows, len(rows))
            parts.append((first, last, rows[first].computed + 1))
            first = last
        return self._lookup(seats, lengths, parts)

    def _blocks(self, rows: Sequence[Running]) -> tuple[Block, ...]:
        return blocks([one.computed + 1 for one in rows], self._seats.places.shape[1])

    def _fill(self, rows: Sequence[Running], padded: int) -> None:
        numbers = [(one.ids[-1], one.seat, one.computed, one.generated) for one in rows]
        numbers += [(0, self._seats.nobody, 0, 0)] * (padded - len(rows))
        # The step before has been waited for: nothing reads the staging any more.
        self._staging[:padded] = torch.from_numpy(np.asarray(numbers, dtype=np.int64))
        self._inputs[:padded].copy_(self._staging[:padded], non_blocking=True)

    def _step(self, shape: Shape) -> Tensor:
        ids, seats, positions, numbers = self._inputs[: shape.rows].unbind(1)
        self._route.follow(self._seats.adapter[seats] if shape.adapted else None)
        parts, first = [], 0
        for block in shape.blocks:
            parts.append((first, first + block.rows, block.longest))
            first += block.rows
        batch = FlatBatch(
            positions=positions,
            slots=self._seats.places[seats, positions],
            rows=shape.rows,
            decode=self._lookup(seats, positions + 1, parts),
            chunks=(),
            arena=self._arena,
        )
        logits = self._model.logits(self._model.hidden(self._model.embed(ids), batch))
        found, logprobs = sample(logits, self._seats, Draw(seats=seats, numbers=numbers, last=ids), shape.asked)
        return torch.stack([found.double(), logprobs.double()])

    def _lookup(self, seats: Tensor, lengths: Tensor, parts: Sequence[tuple[int, int, int]]) -> Decode:
        """`parts`: of each block its first row, the one after its last, and the length that it is padded to."""
        found = [
            (first, last, Gathered(self._seats.places[seats[first:last], :longest], lengths[first:last]))
            for first, last, longest in parts
        ]
        return found[0][2] if len(found) == 1 else Blocks(found)

    def _found(self, shape: Shape) -> Tensor:
        if self._record is None:
            return self._step(shape)
        recording = self._recorded.get(shape) or self._recording(shape, self._record)
        if recording is None:
            return self._step(shape)
        self._recorded[shape] = recording
        self._recorded.move_to_end(shape)
        recording.replay()
        return recording.found

    def _recording(self, shape: Shape, record: Record) -> Recording | None:
        """A new one; None when it cannot be: from then on, nothing is recorded. Raises what ends the device."""
        log.info("Recording a decoding step of %s.", shape.blocks)
        while len(self._recorded) >= MAX_GRAPHS:
            self._recorded.popitem(last=False)
        try:
            return record(partial(self._step, shape))
        except RuntimeError as error:
            if is_lost(error):
                raise
            log.warning("Steps are not recorded from here on, and take longer: %s", error)
            self._record = None
            self._recorded.clear()
            return None
