"""What the pool can be told."""

from __future__ import annotations

from dataclasses import dataclass

MAX_WAITING = 256  # requests to one model: for it to be loaded, and in its engine's queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Times are in seconds."""

    ttl_s: float = 900.0  # an unused model goes to sleep after this, and is let go after FORGET times this
    patience_s: float = 60.0  # for a model in use to be done, so that another can have its place
    tick_s: float = 0.2  # how often Loading is told
    busy_retry_s: int = 5
    max_waiting: int = MAX_WAITING  # for a model to be loaded
    measure_s: float = 5.0  # for the sizes of the other models, which decide how much cache one has


FORGET = 4
