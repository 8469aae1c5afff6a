"""What the engine asks of an architecture: embed, run over a flat batch, score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from app.inference.families.flat import FlatBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class KvShape:
    """What one token takes in the arena."""

    layers: int
    heads: int
    size: int

    def nbytes(self, itemsize: int) -> int:
        """Keys and values of one token, all layers, in bytes."""
        return 2 * self.layers * self.heads * self.size * itemsize


class FlatModel(Protocol):
    """A model on the flat batch. T tokens, hidden size h, vocabulary V."""

    kv: KvShape
    vocabulary: int
    image_token: int | None  # its id, for a model that sees pictures

    def embed(self, ids: Tensor) -> Tensor:
        """ids [T] -> [T, h]."""

    def hidden(self, embeds: Tensor, batch: FlatBatch) -> Tensor:
        """embeds [T, h] -> [T, h]: all layers and the last norm."""

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [n, h] -> [n, V]."""

    def pictures(self, pixels: Tensor) -> Tensor:
        """pixels [n, 3, H, W] -> [n, image tokens, h]: what stands in the place of each picture's tokens."""
