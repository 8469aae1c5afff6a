"""A story the model goes on with: one text, which the person and the model write in turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.playground import offer, requests
from app.playground.answers import Running
from app.playground.errors import PlaygroundError
from app.playground.playground import Playground, Said
from app.playground.talk import Conversation
from app.tabs.chat import flow, parameters, shelf
from app.tabs.chat.following import Following
from app.tabs.chat.parameters import Parameters
from app.tabs.chat.shelf import QUIET, Shelf
from app.tabs.chat.visitor import page_of, user_of
from app.views import chat as chat_view

Values = dict[Any, Any]
ROOM = "storywriter"
MODEL = "mpt-7b-storywriter"
EXAMPLES = (
    "Once upon a time there was a fox who lived in the forest. One morning",
    "The lighthouse had been dark for eleven years when the lamp turned on by itself.",
    "Dear diary, today the ship finally",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryPanel:
    playground: Playground
    problem: gr.HTML
    text: gr.Textbox
    foot: gr.HTML
    go: gr.Button
    stop: gr.Button
    retry: gr.Button
    undo: gr.Button
    examples: gr.Dataset
    parameters: Parameters
    shelf: Shelf

    def connect(self) -> None:
        shown = self.shelf.shown
        inputs = {self.text, shown, self.shelf.search, *self.parameters.all}
        writes: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        self.go.click(self.go_on, inputs, self.asked, **writes)
        self.retry.click(self.again, inputs, self.asked, **writes)
        self.undo.click(self.take_back, {self.text, shown, self.shelf.search}, self.told, **QUIET)
        self.stop.click(self.shelf.stop, shown, None, queue=False, **QUIET)
        self.examples.click(lambda sample: sample[0], self.examples, self.text, queue=False, **QUIET)
        opened = [self.text, self.foot, self.problem, self.go, self.stop]
        self.shelf.connect(opened, self._opened)
        Following(playground=self.playground, shelf=self.shelf, grows=[self.text, self.foot], growing=self._growing,
                  told=self.told, whole=self._shown, gone=self._gone).connect()  # fmt: skip

    @property
    def asked(self) -> list[Any]:
        return [*self.told, self.shelf.mark]

    @property
    def told(self) -> list[Any]:
        return [self.text, self.foot, self.problem, self.go, self.stop, self.shelf.shown, self.shelf.talks]

    @property
    def arrivals(self) -> list[Any]:
        return [*self.asked, *self.parameters.sliders]

    async def arrive(self, request: gr.Request) -> tuple[Any, ...]:
        """The story that was open last; what is being added to it is followed."""
        try:
            user = user_of(request)
        except PlaygroundError as error:
            return (*self._refused(error), *[gr.skip()] * (len(self.arrivals) - len(self.told)))
        found = self.playground.latest(user, ROOM)
        if found is None:
            return self.shelf.listed(user, self.arrivals)
        sliders = self.parameters.at_defaults(MODEL, self.playground.core.model(MODEL))
        return (*self._shown(user, found.id), self.shelf.marked(found.id), *sliders)

    async def go_on(self, values: Values, request: gr.Request) -> tuple[Any, ...]:
        return self._asked(values, request, again=False)

    async def again(self, values: Values, request: gr.Request) -> tuple[Any, ...]:
        """What the model wrote last, written anew."""
        return self._asked(values, request, again=True)

    def take_back(self, values: Values, request: gr.Request) -> tuple[Any, ...]:
        """Without what the model wrote last. What the person changed before that stays changed."""
        shown, words = values[self.shelf.shown], str(values[self.shelf.search] or "")
        try:
            user = user_of(request)
            turns = self.playground.see(user, shown).turns if shown else ()
            self.playground.take_back(user, shown, *requests.without_last_answer(turns, values[self.text] or ""))
        except PlaygroundError as error:
            return self._refused(error)
        return self._shown(user, shown, words)

    def _asked(self, values: Values, request: gr.Request, *, again: bool) -> tuple[Any, ...]:
        try:
            user = user_of(request)
            said = self._said(user, values, again=again)
            self.playground.say(user, said)
        except PlaygroundError as error:
            return (*self._refused(error), gr.skip())
        shown, words = said.conversation, str(values[self.shelf.search] or "")
        self.shelf.asked(page_of(request), shown)
        return (*self._shown(user, shown, words), self.shelf.marked(shown))

    def _growing(self, user: str, running: Running) -> Callable[[], Any]:
        """What gives the text and the line under it while it grows. What stands before it stays."""
        order = running.order
        before = requests.text_of(self.playground.conversations.get(user, order.conversation).turns[: order.place])
        return lambda: (
            before + running.text,
            chat_view.footnote(running.answer, flow.waiting(self.playground, running)),
        )

    def _gone(self, user: str, words: str, error: PlaygroundError) -> tuple[Any, ...]:
        """The values of `told`, where the conversation was deleted."""
        listed = self.shelf.render(user, None, words)
        return ("", "", chat_view.problem(error.sentence), *self._buttons(""), "", listed)

    def _said(self, user: str, values: Values, *, again: bool) -> Said:
        kept = self.playground.conversations
        shown, text = values[self.shelf.shown], values[self.text] or ""
        if again:
            turns = self.playground.see(user, shown).turns if shown else ()
            keep, added = requests.without_last_answer(turns, text)
        else:
            shown = shown or kept.begin(user, ROOM, MODEL).id
            keep, added = requests.pieces(kept.get(user, shown).turns, text)
        model = self.playground.core.model(MODEL)
        return Said(
            conversation=shown,
            keep=keep,
            turns=added,
            model=MODEL,
            title=model.title if model else offer.title(MODEL),
            ask=requests.story,
            sampling=self.parameters.read(values, MODEL, model),
        )

    def _opened(self, conversation: Conversation | None) -> tuple[Any, ...]:
        if conversation is None:
            return "", "", "", gr.Button(visible=True), gr.Button(visible=False)
        return (*self._text_and_foot(conversation), "", *self._buttons(conversation.id))

    def _shown(self, user: str, shown: str, words: str = "") -> tuple[Any, ...]:
        """The values of `told`."""
        conversation = self.playground.see(user, shown) if shown else None
        listed = self.shelf.render(user, conversation, words)
        return (*self._text_and_foot(conversation), "", *self._buttons(shown), shown, listed)

    def _text_and_foot(self, conversation: Conversation | None) -> tuple[str, str]:
        if conversation is None:
            return "", ""
        running = self.playground.answers.find(conversation.id)
        last = next((turn.answer for turn in reversed(conversation.turns) if turn.answer), None)
        words = flow.waiting(self.playground, running) if running else ""
        failed = chat_view.problem(last.note) if last and last.note else ""
        return requests.text_of(conversation.turns), failed + (chat_view.footnote(last, words) if last else "")

    def _buttons(self, shown: str) -> tuple[gr.Button, gr.Button]:
        running = self.playground.answers.find(shown) is not None
        return gr.Button(visible=not running), gr.Button(visible=running)

    def _refused(self, error: PlaygroundError) -> tuple[Any, ...]:
        return (gr.skip(), gr.skip(), chat_view.problem(error.sentence), *[gr.skip()] * 4)


def build(playground: Playground) -> StoryPanel:
    with gr.Row(elem_classes="sr-chat"):
        with gr.Column(scale=4, min_width=320):
            gr.Markdown("Begin a story; the model goes on with it. Change the text wherever you like, "
                        "and let it go on again.", elem_classes="sr-quiet")  # fmt: skip
            problem = gr.HTML(elem_id=f"{ROOM}-problem", elem_classes="sr-part", apply_default_css=False)
            text = gr.Textbox(label="Story", lines=14, max_lines=22, buttons=["copy"], elem_id=f"{ROOM}-text",
                              placeholder="Once upon a time …")  # fmt: skip
            foot = gr.HTML(elem_id=f"{ROOM}-foot", elem_classes="sr-part", apply_default_css=False)
            with gr.Row():
                go = gr.Button("Go on", variant="primary", min_width=90)
                stop = gr.Button("Stop", variant="stop", visible=False, min_width=90)
                retry = gr.Button("Write it anew", min_width=90)
                undo = gr.Button("Take it back", min_width=90)
            examples = gr.Dataset(components=[text], samples=[[example] for example in EXAMPLES], label="Beginnings",
                                  elem_id=f"{ROOM}-examples")  # fmt: skip
        with gr.Column(scale=1, min_width=270):
            kept = shelf.build(playground, ROOM)
            speed = parameters.speed_line(ROOM)
            with gr.Accordion("Parameters", open=False):
                sliders = parameters.build(MODEL, speed)
    panel = StoryPanel(playground=playground, problem=problem, text=text, foot=foot, go=go, stop=stop, retry=retry,
                       undo=undo, examples=examples, parameters=sliders, shelf=kept)  # fmt: skip
    panel.connect()
    return panel
