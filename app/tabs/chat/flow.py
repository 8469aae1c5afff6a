"""Shows answers while they are written: on a clock, whoever's page it is. Knows no components."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from app.playground.answers import Running
from app.playground.errors import NotFound, PlaygroundError
from app.playground.pace import SLOWEST_S, interval
from app.playground.playground import Playground
from app.playground.talk import State
from app.tabs.chat.watch import Watch
from app.views import chat as chat_view

Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What a page is told of answers: each is a value for every component that is told, `nothing` changes none."""

    grown: Callable[[], Values]
    whole: Callable[[], Values]
    gone: Callable[[PlaygroundError], Values]
    nothing: Values


async def told(
    playground: Playground, running: Sequence[Running], watch: Watch, telling: Telling, *, own: bool
) -> AsyncGenerator[Values, None]:
    """`grown` whenever there is more of the answers, `whole` at their end, `gone` where somebody deleted them.

    Gradio tells a page the last of these twice: to one that has turned away it has to be nothing. `own` as `together`.
    """
    try:
        async with aclosing(together(playground, running, watch, own=own)) as ticks:
            async for new in ticks:
                if all(each.done for each in running):
                    break
                yield telling.grown() if new else telling.nothing
        yield telling.nothing if watch.left else telling.whole()
    except NotFound as error:
        yield telling.nothing if watch.left else telling.gone(error)


async def together(
    playground: Playground, running: Sequence[Running], watch: Watch, *, own: bool
) -> AsyncGenerator[bool, None]:
    """One tick whenever an answer is to be shown anew (True), and at least one in SLOWEST_S, by which a page that was
    closed is noticed (False: nothing is new). The last one is when all are done. A page that turns away gets no more.

    `own`: the page that asked. When that is closed, the answers end, and the core is told. Those that it turned away
    from are written to their end.
    """
    before, quiet = "", 0.0
    try:
        while not watch.left and not all(each.done for each in running):
            now = " ".join(f"{len(each.text)} {each.stage} {each.done}" for each in running)
            if now != before or quiet >= SLOWEST_S:
                yield now != before
                before, quiet = now, 0.0
            pause = interval(playground.answers.count)
            await asyncio.gather(*(each.wait(pause) for each in running if not each.done))
            quiet += pause
        if not watch.left:
            yield True
    finally:
        if own and not watch.left:
            for each in running:
                if not each.done:
                    await playground.answers.end(each.order.conversation, State.INTERRUPTED)


def waiting(playground: Playground, running: Running) -> str:
    """What the answer waits for, in words."""
    return chat_view.waiting(playground.core.phase, running.stage, bool(running.text))
