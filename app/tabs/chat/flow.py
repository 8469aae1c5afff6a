"""Shows an answer while it is written: on a clock, whoever's page it is. Knows no components."""

from __future__ import annotations

from collections.abc import AsyncIterator

from app.playground.answers import Running
from app.playground.pace import SLOWEST_S, interval
from app.playground.playground import Playground
from app.playground.talk import State
from app.views import chat as chat_view


async def ticks(playground: Playground, running: Running, *, own: bool) -> AsyncIterator[bool]:
    """One tick whenever the answer is to be shown anew (True), and at least one in SLOWEST_S, by which a page that was
    closed is noticed (False: nothing is new). The last one is when it is done.

    `own`: the page that asked. When that is closed, the answer ends, and the core is told.
    """
    before, quiet = "", 0.0
    try:
        while not running.done:
            now = f"{len(running.text)} {running.stage}"
            if now != before or quiet >= SLOWEST_S:
                yield now != before
                before, quiet = now, 0.0
            pause = interval(playground.answers.count)
            await running.wait(pause)
            quiet += pause
        yield True
    finally:
        if own and not running.done:
            await playground.answers.end(running.order.conversation, State.INTERRUPTED)


def waiting(playground: Playground, running: Running) -> str:
    """What the answer waits for, in words."""
    return chat_view.waiting(playground.core.phase, running.stage, bool(running.text))
