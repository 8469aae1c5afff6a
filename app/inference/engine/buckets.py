"""Decoding rows in fixed shapes: how many rows, padded to what length. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHORTEST = 128  # tokens: the shortest bucket of lengths


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that are padded to one length."""

    rows: int
    longest: int

    @property
    def tokens(self) -> int:
        return self.rows * self.longest


def bucket(number: int, least: int = 1) -> int:
    """The next of least, 2 * least, 3 * least, 4 * least, 6 * least, 8 * least, ...: at most half of it is padding."""
    size = least
    while size < number:
        size *= 2
    middle = size * 3 // 4
    return middle if middle % least == 0 and middle >= number else size


def blocks(lengths: Sequence[int], limit: int) -> tuple[Block, ...]:
    """How rows of these lengths, the longest first, are padded; `limit` is the longest there can be.

    In one block, or in two where a few long rows would make many short ones twice as dear: more would waste less, and
    have more shapes recorded. Only the last block has more rows than there are.
    """
    whole = (_block(lengths, limit),)
    cuts = (1 << power for power in range((len(lengths) - 1).bit_length()))
    parted = [(_block(lengths[:cut], limit), _block(lengths[cut:], limit)) for cut in cuts]
    best = min(parted, key=tokens, default=whole)
    return best if 2 * tokens(best) <= tokens(whole) else whole


def tokens(found: Sequence[Block]) -> int:
    """Those that are looked at, padding included."""
    return sum(block.tokens for block in found)


def _block(lengths: Sequence[int], limit: int) -> Block:
    return Block(bucket(len(lengths)), min(bucket(lengths[0], SHORTEST), limit))
