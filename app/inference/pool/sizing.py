"""How much KV cache an engine may have. Pure arithmetic over bytes."""

from __future__ import annotations

from collections.abc import Sequence

FLOOR = 512 * 1024**2  # 1,000 tokens of a 7B model in 16 bits; below it, fewer models at once are better
CEILING = 16 * 1024**3


def kv_share(weights: int, bases: Sequence[int], budget: int) -> int:
    """Bytes of KV cache for a base whose weights take `weights`.

    `bases`: the weights of every base on offer. `budget`: what the core may hold in all. As many bases as can be there
    at once with a decent cache each share what their weights leave; where that is none, this one has what it leaves.
    """
    for count in range(len(bases), 0, -1):
        together = sorted(bases, reverse=True)[:count]
        if (share := (budget - sum(together)) // count) >= FLOOR:
            return min(share, CEILING)
    return max(0, min(budget - weights, CEILING))


def in_gib(size: int) -> str:
    return f"{size / 1024**3:.2f} GiB"
