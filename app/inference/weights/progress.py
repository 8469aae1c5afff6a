"""Progress of a load as one fraction from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, float], None]
"""What is being done, and the fraction of it that is done."""


def part(report: Report, start: float, end: float) -> Report:
    """A report for the part of the whole between `start` and `end`."""

    def reported(what: str, fraction: float) -> None:
        report(what, start + (end - start) * min(max(fraction, 0.0), 1.0))

    return reported


def rising(report: Report) -> Report:
    """A report that never goes back: a file that is fetched over two bars is counted by the faster one."""
    reached = 0.0

    def reported(what: str, fraction: float) -> None:
        nonlocal reached
        reached = max(reached, fraction)
        report(what, reached)

    return reported
