"""Alpaca-LoRA as its original demo has it: an instruction, perhaps an input to it, and the output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.inference.types import Role
from app.playground import offer, requests
from app.playground.answers import Running
from app.playground.errors import PlaygroundError
from app.playground.playground import Playground, Said
from app.playground.talk import Conversation, Turn
from app.tabs.chat import flow, parameters, shelf
from app.tabs.chat.following import Following
from app.tabs.chat.parameters import Parameters
from app.tabs.chat.shelf import QUIET, Shelf
from app.tabs.chat.visitor import page_of, user_of
from app.views import chat as chat_view

Values = dict[Any, Any]
TITLE = "Alpaca-LoRA"
ROOM = "alpaca"
MODEL = "alpaca-lora-7b"
EXAMPLES = (
    ("Tell me about alpacas.", ""),
    ("What is the capital of France?", ""),
    ("Translate the word into Spanish.", "dog"),
    ("List the days of the week.", ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaPanel:
    playground: Playground
    problem: gr.HTML
    instruction: gr.Textbox
    given: gr.Textbox
    output: gr.Textbox
    foot: gr.HTML
    submit: gr.Button
    stop: gr.Button
    examples: gr.Dataset
    parameters: Parameters
    shelf: Shelf

    def connect(self) -> None:
        shown = self.shelf.shown
        inputs = {self.instruction, self.given, self.shelf.search, *self.parameters.all}
        writes: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        for asks in (self.submit.click, self.instruction.submit, self.given.submit):
            asks(self.answer, inputs, self.asked, **writes)
        self.stop.click(self.shelf.stop, shown, None, queue=False, **QUIET)
        self.examples.click(lambda sample: sample, self.examples, [self.instruction, self.given], queue=False, **QUIET)
        opened = [self.instruction, self.given, self.output, self.foot, self.problem, self.submit, self.stop]
        self.shelf.connect(opened, self._opened)
        Following(playground=self.playground, shelf=self.shelf, grows=[self.output, self.foot], growing=self._growing,
                  told=self.told, whole=self._shown, gone=self._gone).connect()  # fmt: skip

    @property
    def asked(self) -> list[Any]:
        return [*self.told, self.shelf.mark]

    @property
    def told(self) -> list[Any]:
        return [self.output, self.foot, self.problem, self.submit, self.stop, self.shelf.shown, self.shelf.talks]

    @property
    def arrivals(self) -> list[Any]:
        return [self.instruction, self.given, *self.asked, *self.parameters.sliders]

    async def arrive(self, request: gr.Request) -> tuple[Any, ...]:
        """What was asked last; an answer that is being written is followed."""
        try:
            user = user_of(request)
        except PlaygroundError as error:
            skipped = [gr.skip()] * (len(self.arrivals) - 2 - len(self.told))
            return (gr.skip(), gr.skip(), *self._refused(error), *skipped)
        found = self.playground.latest(user, ROOM)
        if found is None:
            return self.shelf.listed(user, self.arrivals)
        sliders = self.parameters.at_defaults(MODEL, self.playground.core.model(MODEL))
        return (*_asked(found), *self._shown(user, found.id), self.shelf.marked(found.id), *sliders)

    async def answer(self, values: Values, request: gr.Request) -> tuple[Any, ...]:
        """Each instruction is on its own, so each is kept as a conversation of its own."""
        try:
            user = user_of(request)
            running = self.playground.say(user, self._said(user, values))
        except PlaygroundError as error:
            return (*self._refused(error), gr.skip())
        shown, words = running.order.conversation, str(values[self.shelf.search] or "")
        await self.shelf.leave(request)  # Enter asks while another instruction is being answered
        self.shelf.asked(page_of(request), shown)
        return (*self._shown(user, shown, words), self.shelf.marked(shown))

    def _refused(self, error: PlaygroundError) -> tuple[Any, ...]:
        return (gr.skip(), gr.skip(), chat_view.problem(error.sentence), *[gr.skip()] * 4)

    def _growing(self, user: str, running: Running) -> Callable[[], Any]:
        """What gives the output and the line under it while it grows."""
        return lambda: (
            running.text,
            chat_view.footnote(running.answer, flow.waiting(self.playground, running)),
        )

    def _gone(self, user: str, words: str, error: PlaygroundError) -> tuple[Any, ...]:
        """The values of `told`, where the conversation was deleted."""
        listed = self.shelf.render(user, None, words)
        return ("", "", chat_view.problem(error.sentence), *self._buttons(""), "", listed)

    def _said(self, user: str, values: Values) -> Said:
        said = [values[self.instruction] or "", values[self.given] or ""]
        if not said[0].strip():
            raise PlaygroundError("There is no instruction.", hint="Write one first, or choose an example.")
        turns = [Turn(role=Role.USER, text=text) for text in said if text.strip()]
        model = self.playground.core.model(MODEL)
        return Said(
            conversation=self.playground.conversations.begin(user, ROOM, MODEL).id,
            keep=0,
            turns=turns,
            model=MODEL,
            title=model.title if model else offer.title(MODEL),
            ask=requests.instruction,
            sampling=self.parameters.read(values, MODEL, model),
        )

    def _opened(self, conversation: Conversation | None) -> tuple[Any, ...]:
        shown = conversation.id if conversation else ""
        return (*_asked(conversation), *self._text_and_foot(conversation), "", *self._buttons(shown))

    def _shown(self, user: str, shown: str, words: str = "") -> tuple[Any, ...]:
        """The values of `told`."""
        conversation = self.playground.see(user, shown) if shown else None
        listed = self.shelf.render(user, conversation, words)
        return (*self._text_and_foot(conversation), "", *self._buttons(shown), shown, listed)

    def _text_and_foot(self, conversation: Conversation | None) -> tuple[str, str]:
        turn = conversation.turns[-1] if conversation and conversation.turns else None
        if conversation is None or turn is None or turn.answer is None:
            return "", ""
        running = self.playground.answers.find(conversation.id)
        words = flow.waiting(self.playground, running) if running else ""
        failed = chat_view.problem(turn.answer.note) if turn.answer.note else ""
        return turn.text, failed + chat_view.footnote(turn.answer, words)

    def _buttons(self, shown: str) -> tuple[gr.Button, gr.Button]:
        running = self.playground.answers.find(shown) is not None
        return gr.Button(visible=not running), gr.Button(visible=running)


def _asked(conversation: Conversation | None) -> tuple[str, str]:
    said = [turn.text for turn in conversation.turns if turn.role is Role.USER] if conversation else []
    instruction, given, *_ = [*said, "", ""]
    return instruction, given


def build(playground: Playground) -> AlpacaPanel:
    with gr.Row(elem_classes="sr-chat"):
        with gr.Column(scale=2, min_width=320):
            problem = gr.HTML(elem_id=f"{ROOM}-problem", elem_classes="sr-part", apply_default_css=False)
            instruction = gr.Textbox(label="Instruction", lines=2, placeholder="Tell me about alpacas.",
                                     elem_id=f"{ROOM}-instruction")  # fmt: skip
            given = gr.Textbox(label="Input", info="What the instruction is about, if it needs something", lines=2,
                               elem_id=f"{ROOM}-input")  # fmt: skip
            submit = gr.Button("Submit", variant="primary", elem_id=f"{ROOM}-submit")
            stop = gr.Button("Stop", variant="stop", visible=False, elem_id=f"{ROOM}-stop")
            examples = gr.Dataset(components=[instruction, given], samples=[list(example) for example in EXAMPLES],
                                  label="Examples", elem_id=f"{ROOM}-examples")  # fmt: skip
        with gr.Column(scale=2, min_width=320):
            output = gr.Textbox(label="Output", lines=9, max_lines=20, interactive=False, buttons=["copy"],
                                elem_id=f"{ROOM}-output")  # fmt: skip
            foot = gr.HTML(elem_id=f"{ROOM}-foot", elem_classes="sr-part", apply_default_css=False)
        with gr.Column(scale=1, min_width=270):
            kept = shelf.build(playground, ROOM)
            speed = parameters.speed_line(ROOM)
            with gr.Accordion("Parameters", open=False):
                sliders = parameters.build(MODEL, speed)
    panel = AlpacaPanel(playground=playground, problem=problem, instruction=instruction, given=given, output=output,
                        foot=foot, submit=submit, stop=stop, examples=examples, parameters=sliders,
                        shelf=kept)  # fmt: skip
    panel.connect()
    return panel
