"""Answers that are being written: from the core's stream to the conversation they belong to. Knows no page.

Each has a task that reads the stream as it comes; whoever shows it looks at it when it likes. It ends when the model is
done, when somebody stops it, when its page is closed or when it fails; whatever was written by then is kept, and how
much it is is told, as of one that came to its end.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace

from app.inference.types import Delta, Event, Finished, FinishReason, Loading, Queued, Role, Started
from app.playground import requests
from app.playground.client import ChatRequest, CoreClient
from app.playground.conversations import Conversations
from app.playground.core import Core
from app.playground.errors import Answering, CoreRefused, PlaygroundError
from app.playground.talk import Answer, State, Turn

SAVE_EVERY_S = 2.0
SHORTEST_S = 0.5  # words come in bursts: over less time than this they tell no rate
COUNT_S = 1.0  # for the core to say how long a text is; whoever stopped an answer waits for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One answer to be written: turn `place` of `conversation`, which is there already and empty."""

    conversation: str
    place: int
    request: ChatRequest
    title: str  # of the model


@dataclass(slots=True, kw_only=True)
class Running:
    """An answer under way. `stage` is the last the core said of it before its first word.

    `first` and `last`: when its first and its newest words came.
    """

    order: Order
    answer: Answer
    text: str = ""
    stage: Loading | Queued | Started | None = None
    first: float = 0.0
    last: float = 0.0
    task: asyncio.Task[None] | None = None

    @property
    def done(self) -> bool:
        return self.task is None or self.task.done()

    @property
    def turn(self) -> Turn:
        return Turn(role=Role.ASSISTANT, text=self.text, answer=self.answer)

    async def wait(self, seconds: float) -> None:
        """Until it is done, at most `seconds`."""
        if self.task is not None:
            await asyncio.wait({self.task}, timeout=seconds)


@dataclass(slots=True)
class Answers:
    """At most one for each conversation, and those that belong to none. Belongs to one event loop."""

    core: Core
    conversations: Conversations
    clock: Callable[[], float] = time.monotonic
    _running: dict[str, Running] = field(default_factory=dict)
    _apart: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return len(self._running) + self._apart.total()

    def of(self, user: str) -> int:
        """How many are being written for `user`."""
        return self._apart[user] + sum(running.order.request.client == user for running in self._running.values())

    @contextmanager
    def apart(self, user: str) -> Iterator[None]:
        """One more is being written for `user` meanwhile, which belongs to no conversation."""
        self._apart[user] += 1
        try:
            yield
        finally:
            self._apart[user] -= 1
            if not self._apart[user]:
                del self._apart[user]

    def find(self, conversation: str) -> Running | None:
        return self._running.get(conversation)

    def check_free(self, conversation: str) -> None:
        """Raises Answering."""
        if conversation in self._running:
            raise Answering("An answer is being written in this conversation.", hint="Stop it, or wait for its end.")

    def begin(self, order: Order) -> Running:
        """Raises Answering."""
        self.check_free(order.conversation)
        answer = Answer(model=order.title, state=State.RUNNING)
        running = self._running[order.conversation] = Running(order=order, answer=answer)
        running.task = asyncio.create_task(self._write(running))
        return running

    async def end(self, conversation: str, state: State) -> None:
        """End the answer of a conversation as STOPPED or INTERRUPTED, and wait until the core is told."""
        running = self._running.get(conversation)
        if running is None or running.task is None or running.done:
            return
        running.answer = replace(running.answer, state=state)
        running.task.cancel()
        await asyncio.wait({running.task}, timeout=5)

    async def close(self) -> None:
        await asyncio.gather(*(self.end(conversation, State.INTERRUPTED) for conversation in list(self._running)))

    async def _write(self, running: Running) -> None:
        try:
            client = await self.core.client()
            await self._identify(running)
            await self._read(running, client)
            await self._identify(running)  # a model says what it runs on once it is loaded
        except PlaygroundError as error:
            running.answer = replace(running.answer, state=State.FAILED, note=error.sentence)
            self.core.lost(error)
        finally:
            if running.answer.state is State.RUNNING:  # the server is ending
                running.answer = replace(running.answer, state=State.INTERRUPTED)
            self._save(running)
            self._running.pop(running.order.conversation, None)

    async def _identify(self, running: Running) -> None:
        """Notes whose weights are at work, and on what."""
        model = self.core.model(running.order.request.model)
        if model is None or not model.device:
            await self.core.look()
            model = self.core.model(running.order.request.model)
        if model is not None:
            running.answer = replace(running.answer, demo=model.demo, device=model.device)

    async def _read(self, running: Running, client: CoreClient) -> None:
        """Reads the stream to its end, or until somebody ends it."""
        try:
            await self._read_to_its_end(running, client)
        except asyncio.CancelledError:
            await self._measure(running, client)
            raise

    async def _measure(self, running: Running, client: CoreClient) -> None:
        """Notes what the core tells of an answer at its end alone, for one that was ended here.

        Its place in the core is free already. An engine that counts no tokens, or takes long to, leaves it unsaid.
        """
        if not running.text:
            return
        try:
            async with asyncio.timeout(COUNT_S):
                count = await client.count(running.order.request.model, running.text)
                await self._identify(running)
        except (PlaygroundError, TimeoutError):
            return
        spent = running.last - running.first
        rate = (count - 1) / spent if spent >= SHORTEST_S else 0.0
        running.answer = replace(running.answer, generated_tokens=count, tokens_per_s=rate)

    async def _read_to_its_end(self, running: Running, client: CoreClient) -> None:
        """A conversation that has grown too long goes on without its beginning."""
        request: ChatRequest | None = running.order.request
        while request is not None:
            try:
                await self._stream(running, client, request)
            except CoreRefused as error:
                shorter = requests.shortened(request) if error.code == "prompt_too_long" else None
                if shorter is None:
                    raise
                running.answer = replace(running.answer, forgotten=running.answer.forgotten + 1)
                request = shorter
            else:
                return

    async def _stream(self, running: Running, client: CoreClient, request: ChatRequest) -> None:
        saved = self.clock()
        async with aclosing(client.chat(request)) as events:
            async for event in events:
                self._take(running, event)
                if self.clock() - saved > SAVE_EVERY_S and isinstance(event, Delta):
                    saved = self.clock()
                    self._save(running)

    def _take(self, running: Running, event: Event) -> None:
        match event:
            case Loading() | Queued():
                running.stage = event
            case Started():
                running.stage = event
                running.answer = replace(running.answer, prompt_tokens=event.prompt_tokens)
            case Delta(text=text):
                running.last = self.clock()
                running.first = running.first or running.last
                running.text += text
            case Finished():
                running.answer = replace(
                    running.answer,
                    state=State.DONE,
                    cut=event.reason is FinishReason.LENGTH,
                    prompt_tokens=event.usage.prompt_tokens,
                    generated_tokens=event.usage.generated_tokens,
                    tokens_per_s=event.usage.tokens_per_s,
                )

    def _save(self, running: Running) -> None:
        self.conversations.save_answer(running.order.conversation, running.order.place, running.turn)
