"""Compare: one message to two models, whose answers are written side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from app.inference.types import Role
from app.playground import offer, requests
from app.playground.answers import Running
from app.playground.errors import Answering, NotFound, PlaygroundError
from app.playground.playground import Playground, Said
from app.playground.requests import Ask
from app.playground.talk import Conversation, State, Turn
from app.tabs.chat import flow, transcript
from app.tabs.chat.flow import Telling
from app.tabs.chat.shelf import QUIET
from app.tabs.chat.visitor import page_of, user_of
from app.tabs.chat.watch import Watch, Watches
from app.views import chat as chat_view

TITLE = "Compare"
ROOMS = ("compare-left", "compare-right")  # a conversation of each model, kept apart
HEIGHT = "min(52vh, 480px)"
MODELS: dict[str, Ask] = {
    "guanaco-7b": requests.chat,
    "alpaca-lora-7b": requests.instruction,
    "mpt-7b-chat": requests.chat,
    "mpt-7b-instruct": requests.instruction,
    "llava-1.5-7b": requests.chat,
}
FIRST = ("guanaco-7b", "mpt-7b-chat")
EXAMPLES = ("What is the capital of France?", "Give the opposite of hot.", "List the days of the week.")
Shown = list[str]  # the ids of the two conversations; empty before the first message


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePanel:
    playground: Playground
    problem: gr.HTML
    models: Sequence[gr.Dropdown]
    chats: Sequence[gr.Chatbot]
    box: gr.Textbox
    new: gr.Button
    examples: gr.Dataset
    shown: gr.State
    watches: Watches = field(default_factory=Watches)

    def connect(self) -> None:
        inputs = [self.box, self.shown, *self.models]
        self.box.submit(self.send, inputs, self.told, concurrency_limit=None, **QUIET)
        self.box.stop(self.stop, self.shown, None, queue=False, **QUIET)
        begins: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        self.new.click(self.begin, self.shown, self.told, **begins)
        for chat in self.chats:
            chat.clear(self.begin, self.shown, self.told, **begins)
        for model in self.models:  # another model has not said what stands above
            model.input(self.begin, self.shown, self.told, **begins)
        self.examples.click(lambda sample: sample[0], self.examples, self.box, queue=False, **QUIET)

    @property
    def told(self) -> list[Any]:
        return [*self.chats, self.box, self.problem, self.shown]

    @property
    def arrivals(self) -> list[Any]:
        return [*self.told, *self.models]

    async def arrive(self, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """What was compared last; answers that are being written are followed."""
        try:
            user = user_of(request)
        except PlaygroundError as error:
            yield (*self._refused(error), gr.skip(), gr.skip())
            return
        found = [self.playground.latest(user, room) for room in ROOMS]
        shown = [one.id for one in found if one]
        if len(shown) < len(ROOMS):
            yield tuple([gr.skip()] * len(self.arrivals))
            return
        models = [one.model for one in found if one]
        running = self._running(shown)
        with self.watches.begin(page_of(request)) as watch:
            yield (*self._shown(user, shown), *models)
            if running:
                async for parts in self._followed(user, shown, running, watch, own=False):
                    yield (*parts, gr.skip(), gr.skip())

    async def send(
        self, text: str, shown: Shown, left: str, right: str, request: gr.Request
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Ask both. Where one refuses, the other answers all the same, and the refusal is told."""
        try:
            user = user_of(request)
            turn = Turn(role=Role.USER, text=text or "")
            self._check(turn, shown)
            shown, running, problem = self._asked(user, shown, (left, right), turn)
        except PlaygroundError as error:
            yield self._refused(error)
            return
        first = self._shown(user, shown)
        with self.watches.begin(page_of(request)) as watch:
            yield (*first[:2], gr.Textbox(value="", submit_btn=False, stop_btn=True), problem, shown)
            async for parts in self._followed(user, shown, running, watch, own=True):
                yield (*parts[:3], gr.skip(), gr.skip())

    def _check(self, turn: Turn, shown: Shown) -> None:
        if turn.empty:
            raise PlaygroundError("There is nothing to answer.", hint="Write something first.")
        if self._running(shown):
            raise Answering("Both are still answering.", hint="Stop them, or wait for their end.")

    def _asked(self, user: str, shown: Shown, names: Sequence[str], turn: Turn) -> tuple[Shown, list[Running], str]:
        kept = self.playground.conversations
        running: list[Running] = []
        problem = ""
        now: Shown = []
        for place, (room, name) in enumerate(zip(ROOMS, names, strict=True)):
            conversation = kept.get(user, shown[place]) if shown else kept.begin(user, room, name)
            now.append(conversation.id)
            try:
                running.append(self.playground.say(user, self._said(conversation, name, turn)))
            except PlaygroundError as error:
                if not running and place:
                    raise
                problem = chat_view.problem(error.sentence)
        return now, running, problem

    def _said(self, conversation: Conversation, name: str, turn: Turn) -> Said:
        if name not in MODELS:
            raise PlaygroundError("There is no such model.", hint="Choose one of the list.")
        model = self.playground.core.model(name)
        return Said(
            conversation=conversation.id,
            keep=len(conversation.turns),
            turns=(turn,),
            model=name,
            title=model.title if model else offer.title(name),
            ask=MODELS[name],
        )

    def _running(self, shown: Shown) -> list[Running]:
        found = (self.playground.answers.find(conversation) for conversation in shown)
        return [running for running in found if running is not None]

    def _followed(
        self, user: str, shown: Shown, running: Sequence[Running], watch: Watch, *, own: bool
    ) -> AsyncIterator[tuple[Any, ...]]:
        """The values of `told`, until both are done."""
        telling = Telling(
            grown=lambda: (*[self._messages(user, each) for each in shown], gr.skip(), gr.skip(), gr.skip()),
            whole=lambda: self._shown(user, shown),
            gone=lambda error: (*self._empty()[:3], chat_view.problem(error.sentence), []),
            nothing=tuple([gr.skip()] * len(self.told)),
        )
        return flow.told(self.playground, running, watch, telling, own=own)

    def _shown(self, user: str, shown: Shown) -> tuple[Any, ...]:
        """The values of `told`."""
        busy = bool(self._running(shown))
        chats = [self._messages(user, each) for each in shown]
        return (*chats, gr.Textbox(submit_btn=not busy, stop_btn=busy), "", shown)

    def _messages(self, user: str, conversation: str) -> list[transcript.Message]:
        running = self.playground.answers.find(conversation)
        words = flow.waiting(self.playground, running) if running else ""
        return transcript.messages(self.playground.see(user, conversation), words)

    def _refused(self, error: PlaygroundError) -> tuple[Any, ...]:
        return (gr.skip(), gr.skip(), gr.skip(), chat_view.problem(error.sentence), gr.skip())

    async def stop(self, shown: Shown, request: gr.Request) -> None:
        """Both end; one that was deleted has ended."""
        for conversation in shown:
            with suppress(NotFound):
                await self.playground.end(user_of(request), conversation, State.STOPPED)

    async def begin(self, shown: Shown, request: gr.Request) -> tuple[Any, ...]:
        """Two empty conversations; what is being written in the old ones ends."""
        await self.watches.leave(page_of(request))
        try:
            await self.stop(shown, request)
        except PlaygroundError as error:
            return self._refused(error)
        return self._empty()

    def _empty(self) -> tuple[Any, ...]:
        """The values of `told` before the first message."""
        return ([], [], gr.Textbox(submit_btn=True, stop_btn=False), "", [])


def build(playground: Playground) -> ComparePanel:
    gr.Markdown("One message to two models, side by side. Each answers in its own format, with its original demo's "
                "parameters.", elem_classes="sr-quiet")  # fmt: skip
    problem = gr.HTML(elem_id="compare-problem", elem_classes="sr-part", apply_default_css=False)
    models, chats = [], []
    with gr.Row(elem_classes="sr-chat"):
        for room, name, side in zip(ROOMS, FIRST, ("Left", "Right"), strict=True):
            with gr.Column(scale=1, min_width=300):
                models.append(_choice(room, name, side))
                chats.append(_chatbot(room, side))
    box = gr.Textbox(label="Your message to both", show_label=False, container=False, max_lines=8, submit_btn=True,
                     placeholder="Write a message to both, Enter sends it", elem_id="compare-box")  # fmt: skip
    with gr.Row():
        examples = gr.Dataset(components=[box], samples=[[text] for text in EXAMPLES], label="Examples",
                              elem_id="compare-examples")  # fmt: skip
        new = gr.Button("New comparison", size="sm", scale=0, min_width=160, elem_id="compare-new")
    panel = ComparePanel(playground=playground, problem=problem, models=models, chats=chats, box=box, new=new,
                         examples=examples, shown=gr.State([]))  # fmt: skip
    panel.connect()
    return panel


def _choice(room: str, name: str, side: str) -> gr.Dropdown:
    choices = [(offer.title(each), each) for each in MODELS]
    return gr.Dropdown(choices, value=name, label=f"{side} model", filterable=False, elem_id=f"{room}-model")


def _chatbot(room: str, side: str) -> gr.Chatbot:
    return gr.Chatbot(label=f"{side} answers", height=HEIGHT, buttons=["copy"], feedback_options=None,
                      elem_id=f"{room}-chat", elem_classes="sr-side")  # fmt: skip
