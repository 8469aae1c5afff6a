"""The arena for keys and values, in pages, and the prefixes parked in it.

A sequence is given pages in one run where there is one: on the CPU attention then looks at them in place. One that
turns out longer is given more. Pages that many share are counted.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray

from app.inference.engine.transfer import sent
from app.inference.families.base import KvShape
from app.inference.families.flat import Arena, Place

Ids = NDArray[np.int64]
WORTH = 8  # tokens: a shorter common prefix is computed anew


class Pages:
    """Which pages of the arena are taken, and how often. Page 0 is never given out: padding is written there."""

    def __init__(self, total: int) -> None:
        self._users = np.zeros(total + 1, dtype=np.int32)
        self._users[0] = 1

    @property
    def free(self) -> int:
        return int(np.count_nonzero(self._users == 0))

    def users(self, page: int) -> int:
        return int(self._users[page])

    def take(self, number: int) -> list[int]:
        """`number` free pages, in one run if any is long enough. The caller has seen that there are as many."""
        free = np.flatnonzero(self._users == 0)
        starts = np.flatnonzero(np.diff(free, prepend=-2) != 1)
        lengths = np.diff(starts, append=len(free))
        fitting = np.flatnonzero(lengths >= number)
        first = int(starts[fitting[np.argmin(lengths[fitting])]]) if len(fitting) else 0  # the tightest fit
        taken = free[first : first + number]
        self._users[taken] = 1
        return [int(page) for page in taken]

    def share(self, pages: Iterable[int]) -> None:
        for page in pages:
            self._users[page] += 1

    def give_back(self, pages: Iterable[int]) -> None:
        for page in pages:
            self._users[page] -= 1


@dataclass(slots=True, eq=False)
class Parked:
    """The tokens of a sequence that ended, with their keys and values still in the arena, for others of `namespace`."""

    namespace: Hashable
    ids: Ids
    pages: list[int]
    used: int  # a clock of uses


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a sequence is given: its pages, where each of its tokens goes, and how many are there already."""

    pages: list[int] = field(repr=False)
    slots: Ids = field(repr=False)  # [capacity]
    reused: int = 0

    def place(self, tokens: int, device: torch.device) -> Place:
        """Where its first `tokens` lie: a view where they are in one run, else an index."""
        first, last = int(self.slots[0]), int(self.slots[tokens - 1])
        if last - first == tokens - 1 and self._ascending(tokens):
            return slice(first, last + 1)
        return sent(self.slots[:tokens], device)

    def _ascending(self, tokens: int) -> bool:
        return bool((np.diff(self.slots[:tokens]) == 1).all())


class KvStore:
    """Gives out room in the arena, and finds what is in it already."""

    def __init__(self, *, shape: KvShape, tokens: int, page: int, dtype: torch.dtype, device: torch.device) -> None:
        total = tokens // page
        size = (shape.heads, (total + 1) * page, shape.size)
        keys, values = (
            tuple(torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.layers)) for _ in range(2)
        )
        self.arena = Arena(keys=keys, values=values)
        self._pages = Pages(total)
        self._page = page
        self._total = total
        # On the CPU a prefix is copied, so that each sequence stays in one run. Elsewhere whole pages are shared.
        self.sharing = device.type != "cpu"
        self._parked: list[Parked] = []
        self._clock = count()

    @property
    def capacity(self) -> int:
        """Tokens of the longest sequence that can ever fit."""
        return self._total * self._page

    @property
    def used(self) -> int:
        """Tokens that there is room for in running sequences."""
        return (self._total - self._pages.free - self._reclaimable()) * self._page

    def admit(self, namespace: Hashable, ids: Ids, capacity: int) -> Grant | None:
        """Room for `capacity` tokens that begin with `ids`; None while there is too little of it."""
        source, common = self._match(namespace, ids)
        needed = -(-capacity // self._page)
        if source is not None and self._make_room(needed - self._whole(common), spare=source):
            return self._grant(source, common, needed)
        return self._grant(None, 0, needed) if self._make_room(needed) else None

    def grow(self, grant: Grant, capacity: int) -> Grant | None:
        """The same with room for `capacity` tokens; None while there is too little of it."""
        needed = -(-capacity // self._page) - len(grant.pages)
        if not self._make_room(needed):
            return None
        more = self._pages.take(needed)
        slots = np.concatenate([grant.slots, self._slots(more)])
        return Grant(pages=[*grant.pages, *more], slots=slots, reused=grant.reused)

    def park(self, namespace: Hashable, ids: Ids, grant: Grant) -> None:
        """Keep what a sequence computed; it supersedes what it went on from."""
        kept = -(-len(ids) // self._page)
        self._pages.give_back(grant.pages[kept:])
        for parked in [
            old for old in self._parked if old.namespace == namespace and common_prefix(old.ids, ids) == len(old.ids)
        ]:
            self._drop(parked)
        self._parked.append(Parked(namespace, ids, grant.pages[:kept], next(self._clock)))

    def release(self, grant: Grant) -> None:
        self._pages.give_back(grant.pages)

    def _match(self, namespace: Hashable, ids: Ids) -> tuple[Parked | None, int]:
        """The parked prefix that has most in common with these ids. The last id is always computed: it is sampled."""
        best, longest = None, WORTH - 1
        for parked in self._parked:
            common = common_prefix(parked.ids, ids[:-1]) if parked.namespace == namespace else 0
            if common > longest:
                best, longest = parked, common
        return (best, longest) if best else (None, 0)

    def _whole(self, common: int) -> int:
        """How many pages of a common prefix are shared rather than copied."""
        return common // self._page if self.sharing else 0

    def _grant(self, source: Parked | None, common: int, needed: int) -> Grant:
        shared = source.pages[: self._whole(common)] if source else []
        self._pages.share(shared)
        pages = shared + self._pages.take(needed - len(shared))
        slots = self._slots(pages)
        if source:
            source.used = next(self._clock)
            try:
                self._copy(self._slots(source.pages)[:common], slots[:common], len(shared) * self._page)
            except BaseException:
                self._pages.give_back(pages)
                raise
        return Grant(pages=pages, slots=slots, reused=common)

    def _slots(self, pages: list[int]) -> Ids:
        grid = np.asarray(pages, dtype=np.int64)[:, None] * self._page + np.arange(self._page)
        return grid.reshape(-1)

    def _copy(self, source: Ids, target: Ids, first: int) -> None:
        device = self.arena.keys[0].device
        origin, goal = (sent(slots[first:], device) for slots in (source, target))
        for tensor in (*self.arena.keys, *self.arena.values):
            tensor.index_copy_(1, goal, tensor.index_select(1, origin))

    def _reclaimable(self, spare: Parked | None = None) -> int:
        """Pages that only parked prefixes hold, and `spare` is none of them."""
        others = [page for parked in self._parked if parked is not spare for page in parked.pages]
        holders = np.bincount(others or [0])
        return sum(1 for page in np.flatnonzero(holders) if page and self._pages.users(int(page)) == holders[page])

    def _make_room(self, needed: int, spare: Parked | None = None) -> bool:
        """Let parked prefixes but `spare` go, the least recently used first, until `needed` pages are free.

        False where that would not be enough: then all stay.
        """
        if self._pages.free + self._reclaimable(spare) < needed:
            return False
        for parked in sorted(self._parked, key=lambda parked: parked.used):
            if self._pages.free >= needed:
                break
            if parked is not spare:
                self._drop(parked)
        return True

    def _drop(self, parked: Parked) -> None:
        self._parked.remove(parked)
        self._pages.give_back(parked.pages)


def common_prefix(one: Ids, other: Ids) -> int:
    """How many ids two sequences begin with alike."""
    shorter = min(len(one), len(other))
    different = np.flatnonzero(one[:shorter] != other[:shorter])
    return int(different[0]) if len(different) else shorter
