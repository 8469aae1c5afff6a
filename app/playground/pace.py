"""How often a growing answer is shown. Pure.

A server takes about a thousand updates of chats a second over all streams (measured on two cores with Gradio 6.31);
beyond that every stream falls behind. So the more streams there are, the rarer each is updated.
"""

from __future__ import annotations

UPDATES_PER_S = 650  # of all streams together
FASTEST_S = 0.2
SLOWEST_S = 0.5  # a page that was closed is noticed at the next update


def interval(streams: int) -> float:
    """Seconds between two updates of one of `streams` answers."""
    return min(max(streams / UPDATES_PER_S, FASTEST_S), SLOWEST_S)
