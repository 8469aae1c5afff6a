"""How much KV cache an engine may have. Pure arithmetic over bytes."""

from __future__ import annotations

from collections.abc import Sequence

# Of a 7B model in 16 bits, 512 MiB hold the keys and values of 1,000 tokens.
FLOOR = 512 * 1024**2  # below it, fewer models at once are better, even than one of each family
DECENT = 2 * 1024**3  # below it, one model of each family at once is better than more
CEILING = 16 * 1024**3


def kv_share(weights: int, bases: Sequence[int], budget: int, families: int = 1) -> int:
    """Bytes of KV cache for a base whose weights take `weights`.

    `bases`: the weights of every base on offer, which are of so many `families`. `budget`: what the core may hold in
    all. As many bases as can be there at once with a decent cache each share what their weights leave. One of each
    family is worth a smaller cache; a second of the same family is not: it sleeps in host memory, and waking it is a
    copy, though how long that takes on a GPU was never measured. Where none fits so, this one has what it leaves.
    """
    for count in range(len(bases), 0, -1):
        together = sorted(bases, reverse=True)[:count]
        share = (budget - sum(together)) // count
        if share >= (DECENT if count > families else FLOOR):
            return min(share, CEILING)
    return max(0, min(budget - weights, CEILING))


def in_gib(size: int) -> str:
    return f"{size / 1024**3:.2f} GiB"
