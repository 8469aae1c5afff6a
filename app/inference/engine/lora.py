"""Several LoRA adapters over one base in one batch: ranks side by side, and a mask that lets each token see its own.

For a layer with adapters 1..n: y = base(x) + ((x @ [A1 A2 ... An]) * mask) @ [B1 B2 ... Bn]. Two small products however
many adapters there are, over any kind of base layer, with no choice made on the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from app.inference.loaded import Adapter, LoraLayer

Owners = tuple[tuple[int, float], ...]  # of each adapter in order: its rank in a layer, and its scaling
BASE = 0  # the index of no adapter at all; adapters count from 1


class Route:
    """Which adapter each token of the step uses; shared by all layers of a model."""

    def __init__(self) -> None:
        self._indices: Tensor | None = None
        self._masks: dict[Owners, Tensor] = {}

    def follow(self, indices: Tensor | None) -> None:
        """indices [T]: from now on; None when all tokens use the base alone."""
        self._indices = indices
        self._masks = {}

    def mask(self, owners: Owners, table: Tensor) -> Tensor | None:
        """[T, sum of ranks] out of `table` [adapters + 1, sum of ranks], once for all layers with the same owners."""
        if self._indices is None:
            return None
        if owners not in self._masks:
            self._masks[owners] = table[self._indices]
        return self._masks[owners]


class LoraLinear(nn.Module):
    """A linear layer with adapters, in its place. It holds their tensors: the parts become views of its own."""

    a: Tensor  # [sum of ranks, in]
    b: Tensor  # [out, sum of ranks]
    table: Tensor  # [adapters + 1, sum of ranks]: the adapter's scaling where the rank is its own, else 0

    def __init__(self, base: nn.Module, parts: Sequence[LoraLayer | None], route: Route) -> None:
        """`parts`: of each adapter in order, None for one that leaves this layer alone."""
        super().__init__()
        self.base = base
        self._route = route
        self._owners = tuple((part.a.shape[0], part.scaling) if part else (0, 0.0) for part in parts)
        there = [part for part in parts if part]
        self.register_buffer("a", torch.cat([part.a for part in there]))
        self.register_buffer("b", torch.cat([part.b for part in there], dim=1))
        self.register_buffer("table", _table(self._owners).to(self.a.device, self.a.dtype))
        first = 0
        for part in there:
            last = first + part.a.shape[0]
            part.a.data, part.b.data = self.a[first:last], self.b[:, first:last]
            first = last

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = cast(Tensor, self.base(inputs))
        mask = self._route.mask(self._owners, self.table)
        if mask is None:
            return outputs
        narrow = linear(inputs.to(self.a.dtype), self.a) * mask
        return outputs + linear(narrow, self.b).to(outputs.dtype)


def _table(owners: Owners) -> Tensor:
    """[adapters + 1, sum of ranks], float32."""
    table = torch.zeros(len(owners) + 1, sum(rank for rank, _ in owners))
    first = 0
    for index, (rank, scaling) in enumerate(owners, start=1):
        table[index, first : first + rank] = scaling
        first += rank
    return table


def install(model: nn.Module, adapters: Mapping[str, Adapter], route: Route) -> dict[str, int]:
    """Put the adapters over the model's layers. Returns each one's index."""
    paths = sorted({path for adapter in adapters.values() for path in adapter.layers})
    for path in paths:
        parent, _, name = path.rpartition(".")
        parts = [adapter.layers.get(path) for adapter in adapters.values()]
        setattr(model.get_submodule(parent), name, LoraLinear(model.get_submodule(path), parts, route))
    return {name: index for index, name in enumerate(adapters, start=1)}
