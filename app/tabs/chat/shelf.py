"""The kept conversations beside a chat: listed, searched, opened, renamed, deleted. Knows components and one room."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from app.playground.answers import Running
from app.playground.errors import NotFound, PlaygroundError
from app.playground.playground import Playground
from app.playground.talk import Conversation, State
from app.tabs.chat import flow
from app.tabs.chat.flow import Telling
from app.tabs.chat.visitor import page_of, user_of
from app.tabs.chat.watch import Watch, Watches
from app.views import chat as chat_view

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# A click on a button of the list reaches the handler with what the button stands for.
_CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-action]');
  if (!button) return;
  let {action, talk, title} = button.dataset;
  if (action === 'delete' && !confirm('Delete this conversation?')) return;
  if (action === 'rename') {
    title = prompt('A name for this conversation', title);
    if (!title) return;
  }
  trigger('click', {action, talk, title});
});
"""
Show = Callable[[Conversation | None], tuple[Any, ...]]
Tell = Callable[[str, str, str], Telling]  # of a user's conversation, with the words of the search


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """`shown` is the id of the open conversation, "" for none yet."""

    playground: Playground
    room: str
    new: gr.Button
    search: gr.Textbox
    talks: gr.HTML
    shown: gr.State
    watches: Watches = field(default_factory=Watches)

    def render(self, user: str, conversation: Conversation | None, words: str = "") -> str:
        """The list as it is now."""
        found = self.playground.conversations.list(user, self.room, words)
        return chat_view.listing(found, conversation, time.time(), bool(words.strip()))

    def connect(self, outputs: list[Any], show: Show, told: list[Any], tell: Tell) -> None:
        """`show` gives the values of `outputs` for a conversation that is opened, or for none.

        `tell` gives those of `told`, while an answer is being written in the one that was opened.
        """

        async def act(shown: str, words: str, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
            try:
                user = user_of(request)
                action, talk = str(event.action), str(event.talk)
                if action == "open" or (action == "delete" and talk == shown):
                    await self.leave(request)
                opened = await self._act(user, action, talk, str(event.title or ""), shown)
            except PlaygroundError as error:
                gr.Warning(error.sentence)
                return (gr.skip(), gr.skip(), *[gr.skip()] * len(outputs))
            if isinstance(opened, str):  # nothing but the list has changed
                known = self.playground.see(user, opened) if opened else None
                return (self.render(user, known, words), gr.skip(), *[gr.skip()] * len(outputs))
            return (self.render(user, opened, words), opened.id if opened else "", *show(opened))

        def look(shown: str, words: str, request: gr.Request) -> str:
            try:
                user = user_of(request)
                return self.render(user, self.playground.see(user, shown) if shown else None, words)
            except PlaygroundError as error:
                return chat_view.problem(error.sentence)

        async def begin(words: str, request: gr.Request) -> tuple[Any, ...]:
            await self.leave(request)
            try:
                return (self.render(user_of(request), None, words), "", *show(None))
            except PlaygroundError as error:
                return (chat_view.problem(error.sentence), "", *show(None))

        async def join(shown: str, words: str, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
            nothing = tuple([gr.skip()] * len(told))
            if self.watches.following(page_of(request)):  # a conversation that is not shown was renamed or deleted
                yield nothing
                return
            with self.watches.begin(page_of(request)) as watch:
                yield nothing
                running = self.playground.answers.find(shown)
                if running is not None:
                    async for values in self.followed(running, watch, tell(user_of(request), shown, words), own=False):
                        yield values

        changed = [self.talks, self.shown, *outputs]
        # In the queue, as the answers are: what is told first reaches the page first.
        queued: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        self.talks.click(act, [self.shown, self.search], changed, **queued).then(
            join, [self.shown, self.search], told, **queued
        )
        self.new.click(begin, self.search, changed, **queued)
        self.search.change(
            look, [self.shown, self.search], self.talks, queue=False, trigger_mode="always_last", **QUIET
        )

    async def leave(self, request: gr.Request) -> None:
        """The page turns to another conversation. An answer under way goes on being written in its own."""
        await self.watches.leave(page_of(request))

    async def stop(self, shown: str, request: gr.Request) -> None:
        """End the answer under way; where its conversation was deleted, it has ended."""
        with suppress(NotFound):
            if shown:
                await self.playground.end(user_of(request), shown, State.STOPPED)

    def followed(
        self, running: Running, watch: Watch, telling: Telling, *, own: bool
    ) -> AsyncIterator[tuple[Any, ...]]:
        return flow.told(self.playground, [running], watch, telling, own=own)

    async def _act(self, user: str, action: str, talk: str, title: str, shown: str) -> Conversation | str | None:
        """The conversation to show; None for an empty page; an id where the one that is shown stays."""
        kept = self.playground.conversations
        match action:
            case "open":
                kept.open(user, talk)
                return self.playground.see(user, talk)
            case "rename":
                kept.rename(user, talk, title)
                return shown
            case "delete":
                await self.playground.delete(user, talk)
                return None if talk == shown else shown
        raise PlaygroundError("That cannot be done with a conversation.")


def build(playground: Playground, room: str) -> Shelf:
    new = gr.Button("New conversation", size="sm", elem_id=f"{room}-new")
    search = gr.Textbox(
        label="Search conversations", placeholder="Words of a message", max_lines=1, elem_id=f"{room}-search"
    )
    listed = gr.HTML(
        elem_id=f"{room}-talks", elem_classes="sr-part", apply_default_css=False, js_on_load=_CLICKS, max_height=420
    )
    return Shelf(playground=playground, room=room, new=new, search=search, talks=listed, shown=gr.State(""))
