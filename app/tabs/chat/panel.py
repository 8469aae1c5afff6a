"""A chat with one model: the messages, the box to write in, parameters, kept conversations. One for each chat tab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gradio as gr

from app.inference.types import Role
from app.playground import offer
from app.playground.answers import Running
from app.playground.errors import PlaygroundError
from app.playground.playground import Playground, Said
from app.playground.requests import Ask
from app.playground.talk import Conversation, Turn
from app.tabs.chat import flow, parameters, shelf, transcript
from app.tabs.chat.following import Following
from app.tabs.chat.parameters import Parameters
from app.tabs.chat.shelf import QUIET, Shelf
from app.tabs.chat.visitor import page_of, user_of
from app.views import chat as chat_view

Values = dict[Any, Any]
HEIGHT = "min(60vh, 560px)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The model of a chat. `system`: what its system prompt is unless one is written; None where it knows none."""

    name: str
    ask: Ask
    system: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What differs between the chats. `room` names its conversations, and its parts for tests."""

    room: str
    model: Choice
    placeholder: str
    examples: Sequence[dict[str, Any]]
    pictures: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatPanel:
    playground: Playground
    spec: Spec
    problem: gr.HTML
    chatbot: gr.Chatbot
    box: gr.Textbox | gr.MultimodalTextbox
    system: gr.Textbox
    parameters: Parameters
    shelf: Shelf

    def connect(self) -> None:
        shown, chatbot, box = self.shelf.shown, self.chatbot, self.box
        inputs = {shown, box, self.system, self.shelf.search, *self.parameters.all}
        told = [chatbot, box, self.problem, shown, self.shelf.talks]
        asked = [*told, self.shelf.mark]
        writes: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        box.submit(self.send, inputs, asked, **writes)
        chatbot.example_select(self.example, inputs, asked, **writes)
        chatbot.retry(self.retry, inputs, asked, **writes)
        chatbot.edit(self.edit, inputs, asked, **writes)
        chatbot.undo(self.undo, [shown], told, **QUIET)
        chatbot.clear(self.clear, self.shelf.search, told, **writes)
        box.stop(self.shelf.stop, shown, None, queue=False, **QUIET)
        self.shelf.connect([chatbot, box, self.problem, self.system], self._opened)
        Following(playground=self.playground, shelf=self.shelf, grows=[chatbot], growing=self._growing, told=told,
                  whole=self._shown, gone=self._gone).connect()  # fmt: skip

    @property
    def arrivals(self) -> list[Any]:
        """What `arrive` fills when a page is loaded."""
        return [self.chatbot, self.box, self.problem, self.shelf.shown, self.shelf.talks, self.shelf.mark, self.system,
                *self.parameters.sliders]  # fmt: skip

    async def arrive(self, request: gr.Request) -> tuple[Any, ...]:
        """The conversation that was open last; an answer that is being written in it is followed."""
        try:
            user = user_of(request)
        except PlaygroundError as error:
            return (*self._refused(error), *[gr.skip()] * (len(self.arrivals) - 5))
        found = self.playground.latest(user, self.spec.room)
        if found is None:
            return self.shelf.listed(user, self.arrivals)
        name = self.spec.model.name
        sliders = self.parameters.at_defaults(name, self.playground.core.model(name))
        return (*self._shown(user, found.id), self.shelf.marked(found.id), found.system, *sliders)

    async def send(self, values: Values, request: gr.Request) -> tuple[Any, ...]:
        return self._asked(values, request, _turn(values[self.box]))

    async def example(self, values: Values, request: gr.Request, event: gr.SelectData) -> tuple[Any, ...]:
        return self._asked(values, request, _example(self.spec, event.value))

    async def retry(self, values: Values, request: gr.Request) -> tuple[Any, ...]:
        """Another answer to what was asked last."""
        return self._asked(values, request, None)

    async def edit(self, values: Values, request: gr.Request, event: gr.EditData) -> tuple[Any, ...]:
        """An earlier message in other words; what followed it gives way."""
        place = event.index if isinstance(event.index, int) else event.index[0]
        return self._asked(values, request, _edited(event.value), place)

    def undo(self, shown: str, request: gr.Request) -> tuple[Any, ...]:
        """Take the last question and its answer back; its words are in the box again."""
        try:
            user = user_of(request)
            turns = self.playground.see(user, shown).turns
            place = _last_question(turns)
            self.playground.take_back(user, shown, place)
        except PlaygroundError as error:
            return self._refused(error)
        chatbot, _, problem, *rest = self._shown(user, shown)
        return (chatbot, self._box(turns[place]), problem, *rest)

    async def clear(self, words: str, request: gr.Request) -> tuple[Any, ...]:
        """An empty page. The conversation stays among the kept ones."""
        await self.shelf.leave(request)
        try:
            return ([], self._buttons(False), "", "", self.shelf.render(user_of(request), None, words))
        except PlaygroundError as error:
            return self._refused(error)

    def _asked(
        self, values: Values, request: gr.Request, turn: Turn | None, place: int | None = None
    ) -> tuple[Any, ...]:
        """Asks the model. `turn` goes to `place`, or to the end; None asks the last one again."""
        try:
            user = user_of(request)
            said = self._said(user, values, turn, place)
            self.playground.say(user, said)
        except PlaygroundError as error:
            return (*self._refused(error), gr.skip())
        shown, words = said.conversation, str(values[self.shelf.search] or "")
        self.shelf.asked(page_of(request), shown)
        chatbot, box, *rest = self._shown(user, shown, words)
        if turn and place is None:
            box = self._box(Turn(role=Role.USER, text=""), running=True)
        return (chatbot, box, *rest, self.shelf.marked(shown))

    def _growing(self, user: str, running: Running) -> Callable[[], Any]:
        """What gives the messages as they are sent while the last one is written. What stands before it stays."""
        order = running.order
        before = self.playground.conversations.get(user, order.conversation).turns[: order.place]
        kept = transcript.sent(self.chatbot, before)
        return lambda: [
            *kept, *transcript.sent(self.chatbot, [running.turn], flow.waiting(self.playground, running))
        ]  # fmt: skip

    def _gone(self, user: str, words: str, error: PlaygroundError) -> tuple[Any, ...]:
        """The values of chatbot, box, problem, shown and list, where the conversation was deleted."""
        listed = self.shelf.render(user, None, words)
        return ([], self._buttons(False), chat_view.problem(error.sentence), "", listed)

    def _said(self, user: str, values: Values, turn: Turn | None, place: int | None) -> Said:
        choice, kept = self.spec.model, self.playground.conversations
        shown = values[self.shelf.shown] or kept.begin(user, self.spec.room, choice.name).id
        turns = kept.get(user, shown).turns
        keep = len(turns) if turn else _last_question(turns) + 1
        if turn and place is not None:
            keep = min(place, len(turns))
            turn = Turn(role=turn.role, text=turn.text, pictures=turns[keep].pictures if keep < len(turns) else ())
        model = self.playground.core.model(choice.name)
        return Said(
            conversation=shown,
            keep=keep,
            turns=(turn,) if turn else (),
            model=choice.name,
            title=model.title if model else offer.title(choice.name),
            ask=choice.ask,
            system=(values[self.system] or "").strip() if choice.system is not None else "",
            sampling=self.parameters.read(values, choice.name, model),
        )

    def _opened(self, conversation: Conversation | None) -> tuple[Any, ...]:
        box = self._buttons(bool(conversation and self.playground.answers.find(conversation.id)))
        if conversation is None:
            return [], box, "", gr.skip()
        return transcript.messages(conversation), box, "", conversation.system

    def _shown(self, user: str, shown: str, words: str = "") -> tuple[Any, ...]:
        """The values of chatbot, box, problem, shown and list."""
        conversation = self.playground.see(user, shown) if shown else None
        running = self.playground.answers.find(shown)
        listed = self.shelf.render(user, conversation, words)
        return self._messages(user, shown), self._buttons(running is not None), "", shown, listed

    def _messages(self, user: str, shown: str) -> list[transcript.Message]:
        if not shown:
            return []
        running = self.playground.answers.find(shown)
        words = flow.waiting(self.playground, running) if running else ""
        return transcript.messages(self.playground.see(user, shown), words)

    def _refused(self, error: PlaygroundError) -> tuple[Any, ...]:
        return (gr.skip(), gr.skip(), chat_view.problem(error.sentence), gr.skip(), gr.skip())

    def _buttons(self, running: bool) -> Any:
        """The box with Send, or with Stop while an answer is written."""
        kind = gr.MultimodalTextbox if self.spec.pictures else gr.Textbox
        return kind(submit_btn=not running, stop_btn=running)

    def _box(self, turn: Turn, *, running: bool = False) -> Any:
        """The box with a message in it."""
        files = [transcript.picture_file(picture) for picture in turn.pictures]
        if self.spec.pictures:
            value: Any = {"text": turn.text, "files": files}
            return gr.MultimodalTextbox(value=value, submit_btn=not running, stop_btn=running)
        return gr.Textbox(value=turn.text, submit_btn=not running, stop_btn=running)


def _turn(value: Any) -> Turn:
    """What the box holds. Its files are uploads: Gradio hands on no other."""
    if isinstance(value, dict):
        pictures = tuple(Path(file).read_bytes() for file in value.get("files") or ())
        return Turn(role=Role.USER, text=value.get("text") or "", pictures=pictures)
    return Turn(role=Role.USER, text=value or "")


def _example(spec: Spec, value: Any) -> Turn:
    """The example with these words. An event says what a browser likes, so files are ours and never its."""
    words = value.get("text", "") if isinstance(value, dict) else ""
    known = next((example for example in spec.examples if example["text"] == words), {"text": words})
    pictures = tuple(Path(file).read_bytes() for file in known.get("files") or ())
    return Turn(role=Role.USER, text=str(words), pictures=pictures)


def _edited(value: Any) -> Turn:
    """The text of an edited message, which may come in parts."""
    parts = value if isinstance(value, list) else [value]
    texts = [part.get("text", "") if isinstance(part, dict) else part for part in parts]
    return Turn(role=Role.USER, text="\n".join(text for text in texts if isinstance(text, str) and text))


def _last_question(turns: Sequence[Turn]) -> int:
    """Where the last message of the person stands. Raises PlaygroundError where there is none."""
    places = [place for place, turn in enumerate(turns) if turn.role is Role.USER]
    if not places:
        raise PlaygroundError("There is nothing to answer yet.", hint="Write something first.")
    return places[-1]


def build(playground: Playground, spec: Spec) -> ChatPanel:
    """Lay a chat out where a tab is being built, and wire it."""
    with gr.Row(elem_classes="sr-chat"):
        with gr.Column(scale=4, min_width=320):
            if spec.model.note:
                gr.Markdown(spec.model.note, elem_classes="sr-quiet")
            problem = gr.HTML(elem_id=f"{spec.room}-problem", elem_classes="sr-part", apply_default_css=False)
            chatbot = _chatbot(spec)
            box = _box(spec)
        with gr.Column(scale=1, min_width=270):
            kept = shelf.build(playground, spec.room)
            speed = parameters.speed_line(spec.room)
            with gr.Accordion("Parameters", open=False, elem_id=f"{spec.room}-parameters"):
                system = parameters.system_prompt(spec.room, spec.model.system)
                sliders = parameters.build(spec.model.name, speed)
    panel = ChatPanel(playground=playground, spec=spec, problem=problem, chatbot=chatbot,
                      box=box, system=system, parameters=sliders, shelf=kept)  # fmt: skip
    panel.connect()
    return panel


def _chatbot(spec: Spec) -> gr.Chatbot:
    return gr.Chatbot(
        label="Conversation",
        height=HEIGHT,
        buttons=["copy", "copy_all"],
        editable="user",
        # A copy: it writes into them where it serves their files from.
        examples=cast(Any, deepcopy(list(spec.examples))),
        placeholder=spec.placeholder,
        feedback_options=None,
        elem_id=f"{spec.room}-chat",
    )


def _box(spec: Spec) -> Any:
    plain: dict[str, Any] = {
        "label": "Your message",
        "show_label": False,
        "container": False,
        "max_lines": 8,
        "submit_btn": True,
        "placeholder": "Write a message, Enter sends it",
        "elem_id": f"{spec.room}-box",
    }
    if not spec.pictures:
        return gr.Textbox(**plain, lines=1)
    return gr.MultimodalTextbox(**plain, sources=["upload"], file_types=["image"], file_count="multiple")
