"""When a transfer that brings nothing is given up."""

from __future__ import annotations

from spaces_runner.checkout.patience import Patience


def test_it_lasts_as_long_as_something_arrives() -> None:
    now = [0.0]
    patience = Patience(limit_s=10, clock=lambda: now[0])
    told = []
    for at, arrived in [(0, 0), (9, 0), (10, 5), (20, 5), (20.5, 5), (21, 6)]:
        now[0] = at
        told.append(patience.is_over(arrived))
    assert told == [False, False, False, False, True, False]
