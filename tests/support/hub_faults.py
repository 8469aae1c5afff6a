"""How the stand-in Hub misbehaves on request, and what it has served."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one kind of route has served: requests, bytes of bodies, and how many requests asked for a range."""

    requests: int = 0
    bytes: int = 0
    ranges: int = 0


@dataclass(slots=True, kw_only=True)
class Fault:
    """A misbehaviour of one kind of route, for its next `times` requests."""

    route: str
    times: int = 1
    status: int | None = None  # answer this instead
    challenge: bool = True  # a 401 says how to log in
    drop_after: int | None = None  # cut the connection after so many bytes of the body
    stall_after: int | None = None  # go silent after so many bytes of the body, for `stall_s`
    stall_s: float = 60.0
    corrupt: bool = False  # turn the body's bytes over
    short: bool = False  # leave the body's second half out, with a matching length
