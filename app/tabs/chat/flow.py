"""Shows answers while they are written: on a clock, whoever's page it is. Knows no components."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from app.playground.answers import Running
from app.playground.pace import SLOWEST_S, interval
from app.playground.playground import Playground
from app.playground.talk import State
from app.views import chat as chat_view


def ticks(playground: Playground, running: Running, *, own: bool) -> AsyncIterator[bool]:
    """`together` for one answer."""
    return together(playground, [running], own=own)


async def together(playground: Playground, running: Sequence[Running], *, own: bool) -> AsyncIterator[bool]:
    """One tick whenever an answer is to be shown anew (True), and at least one in SLOWEST_S, by which a page that was
    closed is noticed (False: nothing is new). The last one is when all are done.

    `own`: the page that asked. When that is closed, the answers end, and the core is told.
    """
    before, quiet = "", 0.0
    try:
        while not all(each.done for each in running):
            now = " ".join(f"{len(each.text)} {each.stage} {each.done}" for each in running)
            if now != before or quiet >= SLOWEST_S:
                yield now != before
                before, quiet = now, 0.0
            pause = interval(playground.answers.count)
            await asyncio.gather(*(each.wait(pause) for each in running if not each.done))
            quiet += pause
        yield True
    finally:
        if own:
            for each in running:
                if not each.done:
                    await playground.answers.end(each.order.conversation, State.INTERRUPTED)


def waiting(playground: Playground, running: Running) -> str:
    """What the answer waits for, in words."""
    return chat_view.waiting(playground.core.phase, running.stage, bool(running.text))
