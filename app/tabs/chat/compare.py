"""Compare: one message to two models, whose answers are written side by side."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.inference.types import Role
from app.playground import offer
from app.playground.answers import Running
from app.playground.errors import Answering, NotFound, PlaygroundError
from app.playground.playground import Playground, Said
from app.playground.talk import Conversation, Turn
from app.tabs.chat import flow, shelf, side, transcript
from app.tabs.chat.comparisons import ROOM, Comparisons
from app.tabs.chat.flow import Telling
from app.tabs.chat.shelf import QUIET, Shelf
from app.tabs.chat.side import CONTENDERS, Side, Values
from app.tabs.chat.visitor import page_of, user_of
from app.views import chat as chat_view

TITLE = "Compare"
TITLES = ("Left", "Right")
FIRST = ("guanaco-7b", "mpt-7b-chat")
EXAMPLES = ("What is the capital of France?", "Give the opposite of hot.", "List the days of the week.")
Ids = tuple[str, ...]  # of the two conversations; none before the first message


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePanel:
    """`shelf.shown` holds the comparison that is open, "" for none yet."""

    playground: Playground
    kept: Comparisons
    problem: gr.HTML
    sides: Sequence[Side]
    box: gr.MultimodalTextbox
    examples: gr.Dataset
    shelf: Shelf

    def connect(self) -> None:
        place = [self.shelf.shown, self.shelf.search]
        queued: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        inputs = {self.box, *place, *(each for side in self.sides for each in side.inputs)}
        self.box.submit(self.send, inputs, self.told, **queued)
        self.box.stop(self.stop, self.shelf.shown, None, queue=False, **QUIET)
        self.shelf.new.click(self.begin, place, self.told, **queued)
        for each in self.sides:
            each.chat.clear(self.begin, place, self.told, **queued)
            each.model.input(self.chooser(each), [each.model, *place], [*self.told, *each.how], **queued)
        self.shelf.talks.click(self.act, place, self.arrivals, **queued).then(self.join, place, self.told, **queued)
        self.shelf.search.change(self.look, place, self.shelf.talks, queue=False, trigger_mode="always_last", **QUIET)
        self.examples.click(lambda sample: {"text": sample[0], "files": []}, self.examples, self.box, queue=False,
                            **QUIET)  # fmt: skip

    @property
    def told(self) -> list[Any]:
        chats = [each.chat for each in self.sides]
        return [*chats, self.box, self.problem, self.shelf.shown, self.shelf.talks]

    @property
    def arrivals(self) -> list[Any]:
        return [*self.told, *(part for each in self.sides for part in (each.model, *each.how))]

    async def arrive(self, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """What was compared last; answers that are being written are followed."""
        rest = [gr.skip()] * (len(self.arrivals) - len(self.told))
        try:
            user = user_of(request)
        except PlaygroundError as error:
            yield (*self._refused(error), *rest)
            return
        shown = self.kept.latest(user)
        running = self._running(self._ids(user, shown))
        with self.shelf.watches.begin(page_of(request)) as watch:
            yield self._opened(user, shown)
            if running:
                telling = self._telling(user, shown, "")
                async for values in flow.told(self.playground, running, watch, telling, own=False):
                    yield (*values, *rest)

    async def send(self, values: Values, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """Ask both. Where one refuses, the other answers all the same, and the refusal is told."""
        shown, words = str(values[self.shelf.shown]), str(values[self.shelf.search] or "")
        try:
            user = user_of(request)
            shown, running, said = self._asked(user, values, shown)
        except PlaygroundError as error:
            yield self._refused(error)
            return
        left, right, _, _, *kept = self._shown(user, shown, words)
        with self.shelf.watches.begin(page_of(request)) as watch:
            yield (left, right, _box(running=True, empty=True), said, *kept)
            telling = self._telling(user, shown, words)
            async for parts in flow.told(self.playground, running, watch, telling, own=True):
                yield (*parts[:3], gr.skip(), *parts[4:])

    def _asked(self, user: str, values: Values, shown: str) -> tuple[str, list[Running], str]:
        """The comparison, the answers that were begun in it, and what is to be told of it. Raises PlaygroundError."""
        turn, names = _turn(values[self.box]), [str(values[each.model]) for each in self.sides]
        if turn.empty:
            raise PlaygroundError("There is nothing to answer.", hint="Write something first.")
        if self._running(self._ids(user, shown)):
            raise Answering("Both are still answering.", hint="Stop them, or wait for their end.")
        remark = _without_pictures(turn, names)
        comparison = shown or self.kept.begin(user, names)
        begun: list[Running] = []
        refused: list[PlaygroundError] = []
        for each, name, talk in zip(self.sides, names, self.kept.sides(user, comparison), strict=True):
            try:
                begun.append(self.playground.say(user, self._said(each, values, name, turn, talk)))
            except PlaygroundError as error:
                refused.append(error)
        if not begun:
            if not shown:
                self.kept.drop(user, comparison)
            raise refused[0]
        return comparison, begun, "".join(chat_view.problem(error.sentence) for error in refused) or remark

    def _said(self, asking: Side, values: Values, name: str, turn: Turn, talk: Conversation) -> Said:
        contender, model = CONTENDERS[name], self.playground.core.model(name)
        system, sampling = asking.asked(values, name, model)
        return Said(
            conversation=talk.id,
            keep=len(talk.turns),
            turns=(turn if contender.pictures else Turn(role=turn.role, text=turn.text),),
            model=name,
            title=model.title if model else offer.title(name),
            ask=contender.choice.ask,
            system=system,
            sampling=sampling,
        )

    def _ids(self, user: str, shown: str) -> Ids:
        return tuple(talk.id for talk in self.kept.sides(user, shown)) if shown else ()

    def _running(self, ids: Ids) -> list[Running]:
        found = (self.playground.answers.find(conversation) for conversation in ids)
        return [running for running in found if running is not None]

    def _telling(self, user: str, shown: str, words: str) -> Telling:
        """What the page is told of answers: the values of `told`."""
        ids = self._ids(user, shown)
        return Telling(
            grown=lambda: (*[self._messages(user, each) for each in ids], *[gr.skip()] * 4),
            whole=lambda: self._shown(user, shown, words),
            gone=lambda error: self._empty(user, words, chat_view.problem(error.sentence)),
            nothing=tuple([gr.skip()] * len(self.told)),
        )

    def _shown(self, user: str, shown: str, words: str) -> tuple[Any, ...]:
        """The values of `told`."""
        if not shown:
            return self._empty(user, words)
        ids = self._ids(user, shown)
        chats = [self._messages(user, each) for each in ids]
        return (*chats, _box(running=bool(self._running(ids))), "", shown, self._listed(user, shown, words))

    def _empty(self, user: str, words: str, problem: str = "") -> tuple[Any, ...]:
        """The values of `told` before the first message."""
        return [], [], _box(), problem, "", self._listed(user, "", words)

    def _opened(self, user: str, shown: str, words: str = "") -> tuple[Any, ...]:
        """The values of `arrivals`: what was said, and how both models were asked."""
        known = self.playground.core.model
        if shown:
            asked = [(talk.model, talk.system) for talk in self.kept.sides(user, shown)]
        else:
            asked = [(name, "") for name in FIRST]
        how = [
            value
            for each, (name, system) in zip(self.sides, asked, strict=True)
            for value in (name, *each.stands(name, known(name), system))
        ]
        return (*self._shown(user, shown, words), *how)

    def _messages(self, user: str, conversation: str) -> list[transcript.Message]:
        running = self.playground.answers.find(conversation)
        words = flow.waiting(self.playground, running) if running else ""
        return transcript.messages(self.playground.see(user, conversation), words)

    def _listed(self, user: str, shown: str, words: str) -> str:
        files = dict(zip(TITLES, self._ids(user, shown), strict=False))
        current = self.playground.see(user, shown) if shown else None
        found = self.kept.list(user, words)
        return chat_view.listing(found, current, time.time(), bool(words.strip()), files)

    def _refused(self, error: PlaygroundError) -> tuple[Any, ...]:
        return (*[gr.skip()] * 3, chat_view.problem(error.sentence), gr.skip(), gr.skip())

    async def stop(self, shown: str, request: gr.Request) -> None:
        """Both end; one that was deleted has ended."""
        with suppress(NotFound):
            if shown:
                await self.kept.stop(user_of(request), shown)

    async def begin(self, shown: str, words: str, request: gr.Request) -> tuple[Any, ...]:
        """Two empty conversations. What is being written in the old ones ends: a guest may have no more at once."""
        await self.shelf.leave(request)
        try:
            await self.stop(shown, request)
            return self._empty(user_of(request), words)
        except PlaygroundError as error:
            return self._refused(error)

    def chooser(self, which: Side) -> Callable[..., Awaitable[tuple[Any, ...]]]:
        """What is called where another model is chosen for a side. Gradio reads its hints: no partial would do."""

        async def choose(name: str, shown: str, words: str, request: gr.Request) -> tuple[Any, ...]:
            """It stands at its defaults. It has not said what stands above, so both begin anew."""
            told = await self.begin(shown, words, request)
            return (*told, *which.stands(name, self.playground.core.model(name)))

        return choose

    async def act(self, shown: str, words: str, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """A button of the list: open, rename or delete a comparison."""
        action, talk = str(event.action), str(event.talk)
        try:
            user = user_of(request)
            if action == "open" or (action == "delete" and talk == shown):
                await self.shelf.leave(request)
            match action:
                case "open":
                    self.kept.open(user, talk)
                    return self._opened(user, talk, words)
                case "rename":
                    self.kept.rename(user, talk, str(event.title or ""))
                case "delete":
                    await self.kept.delete(user, talk)
            gone = action == "delete" and talk == shown
            told = self._empty(user, words) if gone else (*[gr.skip()] * 5, self._listed(user, shown, words))
        except PlaygroundError as error:
            gr.Warning(error.sentence)
            return tuple([gr.skip()] * len(self.arrivals))
        return (*told, *[gr.skip()] * (len(self.arrivals) - len(told)))

    async def join(self, shown: str, words: str, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """Follow what is being written in the comparison that was opened."""
        nothing = tuple([gr.skip()] * len(self.told))
        page = page_of(request)
        if self.shelf.watches.following(page):  # one that is not shown was renamed or deleted
            yield nothing
            return
        with self.shelf.watches.begin(page) as watch, suppress(NotFound):
            yield nothing
            user = user_of(request)
            if running := self._running(self._ids(user, shown)):
                telling = self._telling(user, shown, words)
                async for values in flow.told(self.playground, running, watch, telling, own=False):
                    yield values

    def look(self, shown: str, words: str, request: gr.Request) -> str:
        """The list, as it is searched."""
        try:
            return self._listed(user_of(request), shown, words)
        except PlaygroundError as error:
            return chat_view.problem(error.sentence)


def _box(*, running: bool = False, empty: bool = False) -> gr.MultimodalTextbox:
    """The box with Send, or with Stop while an answer is written; `empty`: what was in it has been sent."""
    buttons: dict[str, Any] = {"submit_btn": not running, "stop_btn": running}
    return (
        gr.MultimodalTextbox(value={"text": "", "files": []}, **buttons) if empty else gr.MultimodalTextbox(**buttons)
    )


def _turn(value: Any) -> Turn:
    """What the box holds. Its files are uploads: Gradio hands on no other."""
    pictures = tuple(Path(file).read_bytes() for file in value.get("files") or ())
    return Turn(role=Role.USER, text=value.get("text") or "", pictures=pictures)


def _without_pictures(turn: Turn, names: Sequence[str]) -> str:
    """What is to be told where a picture reaches one model alone. Raises PlaygroundError where it reaches neither."""
    blind = [offer.title(name) for name in dict.fromkeys(names) if not CONTENDERS[name].pictures]
    if not turn.pictures or not blind:
        return ""
    if not any(CONTENDERS[name].pictures for name in names):
        raise PlaygroundError("Neither of these models looks at pictures.", hint="LLaVA does: choose it on one side.")
    return chat_view.remark(f"{blind[0]} reads text alone, and was asked without the picture.")


def build(playground: Playground) -> ComparePanel:
    rooms = [f"{ROOM}-{title.lower()}" for title in TITLES]
    with gr.Row(elem_classes="sr-chat"):
        with gr.Column(scale=4, min_width=320):
            gr.Markdown("One message to two models, side by side. Each answers in its own format, with its original "
                        "demo's parameters unless you change them. A picture goes to a model that looks at pictures.",
                        elem_classes="sr-quiet")  # fmt: skip
            problem = gr.HTML(elem_id=f"{ROOM}-problem", elem_classes="sr-part", apply_default_css=False)
            shown = []
            with gr.Row():
                for room, name, title in zip(rooms, FIRST, TITLES, strict=True):
                    with gr.Column(scale=1, min_width=300):
                        shown.append(side.chat(room, name, title))
            box = gr.MultimodalTextbox(
                label="Your message to both", show_label=False, container=False, max_lines=8, submit_btn=True,
                placeholder="Write a message to both, Enter sends it", elem_id=f"{ROOM}-box", sources=["upload"],
                file_types=["image"], file_count="multiple",
            )  # fmt: skip
            examples = gr.Dataset(components=["textbox"], samples=[[text] for text in EXAMPLES], label="Examples",
                                  elem_id=f"{ROOM}-examples")  # fmt: skip
        with gr.Column(scale=1, min_width=270):
            kept = shelf.build(playground, ROOM)
            sides = [side.build(*each) for each in zip(rooms, TITLES, shown, strict=True)]
    panel = ComparePanel(playground=playground, kept=Comparisons(playground), problem=problem, sides=sides, box=box,
                         examples=examples, shelf=kept)  # fmt: skip
    panel.connect()
    return panel
