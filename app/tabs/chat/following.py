"""A page follows the answer that is being written in its open conversation, and is told the whole of it at its end.

Whatever opens a conversation or asks for an answer changes the shelf's `mark` where one is under way; that sets this
off. Gradio makes each output of an update anew, one that stays as it is, too: so what grows is told apart from the rest
of the page, and as it is sent. Knows the shelf beside the chat, not what is in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.playground.answers import Running
from app.playground.errors import NotFound, PlaygroundError
from app.playground.playground import Playground
from app.tabs.chat import flow
from app.tabs.chat.shelf import QUIET, Shelf
from app.tabs.chat.visitor import page_of, user_of

Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """`growing` gives what makes the values of the components `grows`, as they are sent, while a user's answer grows.

    `whole` and `gone` give those of `told`, for a user and the words of the search: how a conversation is now, and
    where it was deleted.
    """

    playground: Playground
    shelf: Shelf
    grows: Sequence[Any]
    growing: Callable[[str, Running], Callable[[], Any]]
    told: Sequence[Any]
    whole: Callable[[str, str, str], Values]
    gone: Callable[[str, str, PlaygroundError], Values]

    def connect(self) -> None:
        shelf = self.shelf
        # In the queue, as whatever sets it off is: what is told first reaches the page first.
        queued: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        light: dict[str, Any] = {**queued, "trigger_mode": "multiple", "postprocess": False}
        followed = shelf.mark.change(self.follow, [shelf.shown, shelf.mark], list(self.grows), **light)
        # "multiple", as of two ends at once the page would else drop the one that has something to tell.
        ends: dict[str, Any] = {**queued, "trigger_mode": "multiple"}
        followed.then(self.settle, [shelf.shown, shelf.search], list(self.told), **ends)

    async def follow(self, shown: str, mark: str | None, request: gr.Request) -> AsyncIterator[Any]:
        """What grows, until the answer is done or the page turns away.

        Gradio tells a page the last value twice: to one that has turned away it has to be nothing. And a page takes the
        first that it hears of `mark` for a change, so this may be called twice, or for nothing.
        """
        page, watches = page_of(request), self.shelf.watches
        nothing = gr.skip() if len(self.grows) == 1 else tuple([gr.skip()] * len(self.grows))
        if mark is None or watches.following(page):
            yield nothing
            return
        with watches.begin(page) as watch:
            own = watches.claim(page)
            running = self.playground.answers.find(shown)
            if running is not None:
                grown = self.growing(user_of(request), running)
                async with aclosing(flow.together(self.playground, [running], watch, own=own)) as ticks:
                    async for new in ticks:
                        if not running.done:
                            yield grown() if new else nothing
            yield nothing
            if not watch.left:
                watches.end(page)

    async def settle(self, shown: str, search: str | None, request: gr.Request) -> AsyncIterator[Values]:
        """How the conversation is now, unless the page has turned away from it.

        Told twice, as Gradio tells what comes last, it would take back what a person has written in between.
        """
        page, watches = page_of(request), self.shelf.watches
        nothing = tuple([gr.skip()] * len(self.told))
        if not watches.settle(page):
            yield nothing
            return
        with watches.begin(page):
            user, words = user_of(request), search or ""
            try:
                values = self.whole(user, shown, words)
            except NotFound as error:
                values = self.gone(user, words, error)
            yield values
        yield nothing
