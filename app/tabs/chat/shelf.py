"""The kept conversations beside a chat: listed, searched, opened, renamed, deleted. Knows components and one room."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from app.playground.errors import NotFound, PlaygroundError
from app.playground.playground import Playground
from app.playground.talk import Conversation, State
from app.tabs.chat.visitor import page_of, user_of
from app.tabs.chat.watch import Watches
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """`shown` is the id of the open conversation, "" for none yet. `mark` changes when its answer is to be followed."""

    playground: Playground
    room: str
    new: gr.Button
    search: gr.Textbox
    talks: gr.HTML
    shown: gr.State
    mark: gr.State
    watches: Watches = field(default_factory=Watches)

    def render(self, user: str, conversation: Conversation | None, words: str = "") -> str:
        """The list as it is now."""
        found = self.playground.conversations.list(user, self.room, words)
        return chat_view.listing(found, conversation, time.time(), bool(words.strip()))

    def listed(self, user: str, outputs: list[Any]) -> tuple[Any, ...]:
        """The list alone, where a person has said nothing yet: what he may be writing already stays."""
        listed = self.render(user, None)
        return tuple(listed if output is self.talks else gr.skip() for output in outputs)

    def marked(self, conversation: str) -> Any:
        """The value of `mark` where a page has just come to a conversation."""
        return uuid.uuid4().hex if self.playground.answers.find(conversation) else gr.skip()

    def asked(self, page: str, conversation: str) -> None:
        """The page asked for the answer under way and will follow it. It ends where the page was closed before that."""
        self.watches.ask(page, lambda: self.playground.answers.end(conversation, State.INTERRUPTED))

    def connect(self, outputs: list[Any], show: Show) -> None:
        """`show` gives the values of `outputs` for a conversation that is opened, or for none."""

        async def act(shown: str, words: str, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
            try:
                user = user_of(request)
                action, talk = str(event.action), str(event.talk)
                if action == "open" or (action == "delete" and talk == shown):
                    await self.leave(request)
                opened = await self._act(user, action, talk, str(event.title or ""), shown)
            except PlaygroundError as error:
                gr.Warning(error.sentence)
                return tuple([gr.skip()] * len(changed))
            if isinstance(opened, str):  # nothing but the list has changed
                known = self.playground.see(user, opened) if opened else None
                return (self.render(user, known, words), *[gr.skip()] * (len(changed) - 1))
            now = opened.id if opened else ""
            return (self.render(user, opened, words), now, self.marked(now), *show(opened))

        def look(shown: str, words: str, request: gr.Request) -> str:
            try:
                user = user_of(request)
                return self.render(user, self.playground.see(user, shown) if shown else None, words)
            except PlaygroundError as error:
                return chat_view.problem(error.sentence)

        async def begin(words: str, request: gr.Request) -> tuple[Any, ...]:
            await self.leave(request)
            try:
                return (self.render(user_of(request), None, words), "", gr.skip(), *show(None))
            except PlaygroundError as error:
                return (chat_view.problem(error.sentence), "", gr.skip(), *show(None))

        changed = [self.talks, self.shown, self.mark, *outputs]
        # In the queue, as the answers are: what is told first reaches the page first.
        queued: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        self.talks.click(act, [self.shown, self.search], changed, **queued)
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
    shown, mark = gr.State(""), gr.State(None)
    return Shelf(playground=playground, room=room, new=new, search=search, talks=listed, shown=shown, mark=mark)
