"""What would have to go for something new to fit. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """What holds memory, in the order in which it is let go."""

    IDLE_MODEL = 0
    SPACE = 1
    BUSY_MODEL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """`size` bytes that would be free without `name`."""

    name: str
    kind: Kind
    size: int


def to_go(wanted: int, free: int, held: Iterable[Held]) -> tuple[Held, ...] | None:
    """What has to go until `wanted` bytes are free: nothing that need not. None where even all of it is too little.

    Idle models first, since they come back by themselves; then Spaces; models that are answering last.
    """
    order = sorted((one for one in held if one.size > 0), key=lambda one: (one.kind, -one.size, one.name))
    gone: list[Held] = []
    for one in order:
        if free + sum(other.size for other in gone) >= wanted:
            break
        gone.append(one)
    spare = free + sum(one.size for one in gone) - wanted
    if spare < 0:
        return None
    for one in sorted(
        gone, key=lambda each: (-each.kind, -each.size)
    ):  # the last may have made an earlier one needless
        if one.size <= spare:
            gone.remove(one)
            spare -= one.size
    return tuple(gone)
