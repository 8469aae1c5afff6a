"""Decoding in fixed shapes: rows and lengths rounded up to buckets, all inputs in one buffer; on CUDA, as graphs.

A decoding step of a 7B model launches about a thousand small kernels; replaying them as one graph is what keeps the
device busy at few rows. Without CUDA the same code runs as it is, so that tests reach everything but the capture.
**The capture and replay of graphs have never been run: no GPU was at hand.**
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.inference.engine.live import Running
from app.inference.engine.lora import Route
from app.inference.engine.sampling import Draw, Mode, sample
from app.inference.engine.seats import Seats
from app.inference.families.base import FlatModel
from app.inference.families.flat import Arena, FlatBatch, Gathered

log = logging.getLogger(__name__)

_SHORTEST = 128  # tokens: the shortest bucket of lengths
_INPUTS = 4  # of a row: token, seat, position, number of the token that is drawn


@dataclass(frozen=True, slots=True)
class Shape:
    """What a graph is made for."""

    rows: int
    longest: int
    asked: Mode
    adapted: bool


@dataclass(frozen=True, slots=True)
class _Graph:
    graph: torch.cuda.CUDAGraph
    found: Tensor  # [2, rows], written by each replay


def bucket(number: int, least: int = 1) -> int:
    """The next of least, 2 * least, 3 * least, 4 * least, 6 * least, 8 * least, ...: at most half of it is padding."""
    size = least
    while size < number:
        size *= 2
    middle = size * 3 // 4
    return middle if middle % least == 0 and middle >= number else size


class StaticDecoder:
    """Runs plans that only decode. `graphs`: capture each shape once, then replay it."""

    def __init__(  # noqa: PLR0913 - the parts of an engine, put together once
        self,
        *,
        model: FlatModel,
        arena: Arena,
        seats: Seats,
        route: Route,
        device: torch.device,
        gather_tokens: int,
        graphs: bool,
    ) -> None:
        self._model = model
        self._arena = arena
        self._seats = seats
        self._route = route
        self._gather_tokens = gather_tokens
        self._graphs: dict[Shape, _Graph] | None = {} if graphs else None
        self._pool = torch.cuda.graph_pool_handle() if graphs else None
        rows = bucket(seats.nobody)
        self._inputs = torch.zeros(rows, _INPUTS, dtype=torch.int64, device=device)
        self._staging = torch.zeros(rows, _INPUTS, dtype=torch.int64, pin_memory=device.type == "cuda")

    def takes(self, rows: Sequence[Running]) -> bool:
        """Whether padding these rows to one length copies no more than it may."""
        shape = self._shape(rows, Mode())
        return shape.rows * shape.longest <= self._gather_tokens

    def run(self, rows: Sequence[Running], asked: Mode) -> Tensor:
        """[2, n]: the rows' next tokens and their log-probabilities, still on the device."""
        shape = self._shape(rows, asked)
        self._fill(rows, shape.rows)
        found = self._step(shape) if self._graphs is None else self._replay(shape, self._graphs)
        return found[:, : len(rows)]

    def _shape(self, rows: Sequence[Running], asked: Mode) -> Shape:
        longest = min(bucket(max(one.computed for one in rows) + 1, _SHORTEST), self._seats.places.shape[1])
        return Shape(bucket(len(rows)), longest, asked, any(one.adapter for one in rows))

    def _fill(self, rows: Sequence[Running], padded: int) -> None:
        numbers = [(one.ids[-1], one.seat, one.computed, one.generated) for one in rows]
        numbers += [(0, self._seats.nobody, 0, 0)] * (padded - len(rows))
        self._staging[:padded] = torch.from_numpy(np.asarray(numbers, dtype=np.int64))
        self._inputs[:padded].copy_(self._staging[:padded], non_blocking=True)

    def _step(self, shape: Shape) -> Tensor:
        ids, seats, positions, numbers = self._inputs[: shape.rows].unbind(1)
        places = self._seats.places[seats]
        self._route.follow(self._seats.adapter[seats] if shape.adapted else None)
        batch = FlatBatch(
            positions=positions,
            slots=places.gather(1, positions[:, None])[:, 0],
            rows=shape.rows,
            decode=Gathered(places[:, : shape.longest], positions + 1),
            chunks=(),
            arena=self._arena,
        )
        logits = self._model.logits(self._model.hidden(self._model.embed(ids), batch))
        tokens, logprobs = sample(logits, self._seats, Draw(seats=seats, numbers=numbers, last=ids), shape.asked)
        return torch.stack([tokens.double(), logprobs.double()])

    def _replay(self, shape: Shape, graphs: dict[Shape, _Graph]) -> Tensor:
        if shape not in graphs:
            graphs[shape] = self._capture(shape)
        graphs[shape].graph.replay()
        return graphs[shape].found

    def _capture(self, shape: Shape) -> _Graph:
        """Run it twice beside the main stream, so that libraries set themselves up, then record it."""
        log.info("Recording a decoding step of %d rows and %d tokens.", shape.rows, shape.longest)
        side: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch gives it no types
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self._step(shape)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            found = self._step(shape)
        return _Graph(graph, found)
