"""The flat batch: tokens of many sequences in one row, and the attention over it. Knows tensors, no architecture.

A step's tokens stand in one row [T]: first one token for each decoding sequence, then chunks of prompts. Linear layers
see T tokens; attention looks up each sequence's keys and values in the arena, where any sequence's tokens may lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Place = slice | Tensor  # where in the arena the tokens of a sequence lie, in order: one run, or an index [n]
AT_ONCE = 32768  # tokens whose keys and values are copied at a time: 512 MiB of a 7B model in 16 bits
BIAS_ELEMENTS = 1 << 25  # of an ALiBi bias held at a time: long prompts are attended to in blocks of queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """Keys and values of every layer, each [kv heads, tokens, head size]."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))


class Alibi:
    """A bias that falls linearly with distance (Press et al., https://arxiv.org/abs/2108.12409).

    It is given relative to each query's own position: in half precision, what is far from 0 is coarse.
    """

    def __init__(self, slopes: Tensor) -> None:
        self.slopes = slopes  # [heads], float32
        self._bias = slopes.new_zeros(len(slopes), 1, 0)

    def bias(self, length: int, dtype: torch.dtype) -> Tensor:
        """[heads, 1, length]: what is added to the scores of `length` keys; 0 for the last of them."""
        if self._bias.shape[2] < length or self._bias.dtype != dtype:
            longest = max(length, 2 * self._bias.shape[2])
            distance = torch.arange(1 - longest, 1, device=self.slopes.device)
            self._bias = (self.slopes[:, None, None] * distance).to(dtype)
        return self._bias[:, :, self._bias.shape[2] - length :]

    def of_rows(self, lengths: Tensor, longest: int, dtype: torch.dtype) -> Tensor:
        """[n, heads, 1, longest] for rows of `lengths` [n]; -inf beyond a row's end. Fixed shapes: fit for a graph."""
        return self.of_queries(lengths - 1, longest, dtype).transpose(0, 1)[:, :, None, :]

    def of_queries(self, positions: Tensor, length: int, dtype: torch.dtype) -> Tensor:
        """[heads, m, length] for queries at `positions` [m]; -inf for the keys after them."""
        distance = torch.arange(length, device=positions.device) - positions[:, None]
        bias = (self.slopes[:, None, None] * distance).to(dtype)
        return bias.masked_fill(distance > 0, float("-inf"))


@dataclass(frozen=True, slots=True)
class Layer:
    """What attention must know of a layer: its number, what scores are multiplied by, and what is added to them."""

    number: int
    scale: float
    alibi: Alibi | None = None


class Decode(Protocol):
    """How the decoding rows look up what came before."""

    def __call__(self, query: Tensor, keys: Tensor, values: Tensor, layer: Layer) -> Tensor:
        """query [heads, n, size], keys and values [kv heads, arena, size] -> [n, heads, size]."""


@dataclass(frozen=True, slots=True)
class ByRow:
    """Each row alone over a view of its own tokens: nothing is copied, nothing padded. For the CPU.

    Measured there at 32 rows of 40 to 250 tokens: 5 ms a layer; padded slots under one mask 7 ms, gathered 17 ms.
    """

    places: Sequence[Place]

    def __call__(self, query: Tensor, keys: Tensor, values: Tensor, layer: Layer) -> Tensor:
        heads, _, size = query.shape
        found = []
        for row, place in enumerate(self.places):
            seen, held = keys[:, place], values[:, place]
            one = query[:, row].view(1, len(seen), -1, size)  # heads that share keys stand as queries of those
            bias = layer.alibi.bias(seen.shape[1], query.dtype)[None] if layer.alibi else None
            one = scaled_dot_product_attention(one, seen[None], held[None], attn_mask=bias, scale=layer.scale)
            found.append(one.view(1, heads, size))
        return found[0] if len(found) == 1 else torch.cat(found)


class Gathered:
    """All rows at once over copies of their tokens, padded to one length. Fixed shapes: what a CUDA graph replays.

    Keys and values cross memory three times (read, written, read). That is what it costs to need no kernel of our own.
    """

    def __init__(self, index: Tensor, lengths: Tensor) -> None:
        self._index = index  # [n, longest], into the arena
        self._lengths = lengths  # [n]
        self._mask: Tensor | None = None  # the same for every layer

    def __call__(self, query: Tensor, keys: Tensor, values: Tensor, layer: Layer) -> Tensor:
        if self._mask is None:
            self._mask = self._masked(layer.alibi, query.dtype)
        rows, longest = self._index.shape
        step = max(1, AT_ONCE // longest)
        parts = [
            self._of_rows(query[:, first : first + step], keys, values, layer.scale, slice(first, first + step))
            for first in range(0, rows, step)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _of_rows(self, query: Tensor, keys: Tensor, values: Tensor, scale: float, some: slice) -> Tensor:
        """query [heads, m, size]: of these rows alone."""
        heads, rows, size = query.shape
        mask = self._mask[some] if self._mask is not None else None
        seen, held = (kept[:, self._index[some]].transpose(0, 1) for kept in (keys, values))
        grouped = query.transpose(0, 1).reshape(rows, seen.shape[1], -1, size)
        found = scaled_dot_product_attention(grouped, seen, held, attn_mask=mask, scale=scale)
        return found.reshape(rows, heads, size)

    def _masked(self, alibi: Alibi | None, dtype: torch.dtype) -> Tensor:
        longest = self._index.shape[1]
        if alibi is not None:
            return alibi.of_rows(self._lengths, longest, dtype)
        inside = torch.arange(longest, device=self._lengths.device) < self._lengths[:, None]
        return inside[:, None, None, :]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Some rows in one way, the next in another: each from its first row up to the one after its last."""

    parts: Sequence[tuple[int, int, Decode]]

    def __call__(self, query: Tensor, keys: Tensor, values: Tensor, layer: Layer) -> Tensor:
        return torch.cat([way(query[:, first:last], keys, values, layer) for first, last, way in self.parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a prompt: tokens [first, last) of the flat batch, positions from `start` on of their sequence.

    `place`: of all its tokens so far, these included. `mask` [last - first, start + last - first]: what each may see.
    """

    first: int
    last: int
    start: int
    place: Place
    mask: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatBatch:
    """The tokens of a step. `rows` of them decode; `slots` [T] is where the arena takes each token's key and value."""

    positions: Tensor  # [T], within each sequence
    slots: Tensor
    rows: int
    decode: Decode | None
    chunks: tuple[Chunk, ...]
    arena: Arena


def causal(start: int, count: int, device: torch.device) -> Tensor:
    """What `count` queries from position `start` on may see: [count, start + count], True where they may."""
    return torch.ones(count, start + count, dtype=torch.bool, device=device).tril(start)


def attend(batch: FlatBatch, layer: Layer, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Store the keys and values of this step and attend: query [heads, T, size], key, value [kv heads, T, size].

    Returns [T, heads, size].
    """
    keys, values = batch.arena.keys[layer.number], batch.arena.values[layer.number]
    keys.index_copy_(1, batch.slots, key)
    values.index_copy_(1, batch.slots, value)
    if batch.decode is not None and not batch.chunks:
        return batch.decode(query, keys, values, layer)
    found = query.new_empty(query.shape[1], query.shape[0], query.shape[2])
    if batch.decode is not None:
        found[: batch.rows] = batch.decode(query[:, : batch.rows], keys, values, layer)
    for chunk in batch.chunks:
        part = query[:, chunk.first : chunk.last]
        found[chunk.first : chunk.last] = _of_chunk(chunk, layer, part, keys[:, chunk.place], values[:, chunk.place])
    return found


def _of_chunk(chunk: Chunk, layer: Layer, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """query [heads, m, size] over keys, values [kv heads, start + m, size] -> [m, heads, size]."""
    if layer.alibi is None:
        first = chunk.start == 0  # then the fused kernels make the mask themselves
        found = scaled_dot_product_attention(
            query[None],
            keys[None],
            values[None],
            attn_mask=None if first else chunk.mask,
            is_causal=first,
            scale=layer.scale,
            enable_gqa=query.shape[0] != keys.shape[0],
        )
        return found[0].transpose(0, 1)
    length = keys.shape[1]
    block = max(1, BIAS_ELEMENTS // (query.shape[0] * length))  # so many queries at a time that their bias stays small
    positions = torch.arange(chunk.start, length, device=query.device)
    parts = []
    for low in range(0, query.shape[1], block):
        some = query[None, :, low : low + block]
        bias = layer.alibi.of_queries(positions[low : low + block], length, query.dtype)[None]
        parts.append(scaled_dot_product_attention(some, keys[None], values[None], attn_mask=bias, scale=layer.scale))
    return torch.cat(parts, dim=2)[0].transpose(0, 1)
