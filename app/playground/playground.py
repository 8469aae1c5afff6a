"""What the chat tabs, their API and their routes can ask, each time for one user. Knows no components.

A user is the owner or one guest, by the name the gate gave; nobody reaches another's conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.inference.types import Role
from app.playground.answers import Answers, Order, Running
from app.playground.client import ChatRequest, Sampling
from app.playground.conversations import OWNER, Conversations
from app.playground.core import Core
from app.playground.errors import Answering, NoPicture, TooMuch
from app.playground.export import kind
from app.playground.rates import Rate, Rates
from app.playground.requests import Ask
from app.playground.talk import MAX_CHARS, MAX_PICTURE_BYTES, MAX_PICTURES, Answer, Conversation, State, Turn

GUEST_RATE = Rate(burst=6, per_minute=12)
GUESTS_RATE = Rate(burst=60, per_minute=120)
GUEST_ANSWERS = 2  # at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a person sends: `turns` after the first `keep` of `conversation`, to be answered by `model`."""

    conversation: str
    keep: int
    turns: Sequence[Turn]
    model: str
    title: str
    ask: Ask
    system: str = ""
    sampling: Sampling = field(default_factory=dict)


@dataclass(slots=True)
class Playground:
    core: Core
    conversations: Conversations
    answers: Answers
    rates: Rates = field(default_factory=lambda: Rates(each=GUEST_RATE, together=GUESTS_RATE))

    def say(self, user: str, said: Said) -> Running:
        """Keep what a person said and begin its answer. Raises PlaygroundError, and then nothing is kept."""
        before = self.conversations.get(user, said.conversation)
        turns = (*before.turns[: said.keep], *said.turns)
        _check(turns, said.turns)
        self.answers.check_free(said.conversation)
        self.admit(user)
        request = ChatRequest(
            model=said.model, messages=said.ask(turns, said.system), client=user, sampling=said.sampling
        )
        waiting = Turn(role=Role.ASSISTANT, text="", answer=Answer(model=said.title, state=State.RUNNING))
        self.conversations.set_model(user, said.conversation, said.model, said.system)
        self.conversations.extend(user, said.conversation, said.keep, (*said.turns, waiting))
        order = Order(conversation=said.conversation, place=len(turns), request=request, title=said.title)
        return self.answers.begin(order)

    async def end(self, user: str, conversation: str, state: State) -> None:
        """End the answer under way, if any. Raises NotFound for another user's conversation."""
        self.conversations.get(user, conversation)
        await self.answers.end(conversation, state)

    def see(self, user: str, conversation: str) -> Conversation:
        """A conversation with its answer as far as it is now. Raises NotFound."""
        return self._with_running(self.conversations.get(user, conversation))

    def latest(self, user: str, room: str) -> Conversation | None:
        found = self.conversations.latest(user, room)
        return self._with_running(found) if found else None

    def take_back(self, user: str, conversation: str, keep: int, turns: Sequence[Turn] = ()) -> Conversation:
        """The conversation with its first `keep` turns, and then `turns`. Raises NotFound, Answering, TooMuch."""
        self.answers.check_free(conversation)
        _check_sizes(turns)
        return self.conversations.extend(user, conversation, keep, turns)

    async def delete(self, user: str, conversation: str) -> None:
        """Raises NotFound."""
        await self.end(user, conversation, State.STOPPED)
        self.conversations.delete(user, conversation)

    async def close(self) -> None:
        await self.answers.close()
        await self.core.close()
        self.conversations.close()

    def _with_running(self, found: Conversation) -> Conversation:
        running = self.answers.find(found.id)
        if running is None or running.order.place >= len(found.turns):
            return found
        turns = list(found.turns)
        turns[running.order.place] = running.turn
        return replace(found, turns=tuple(turns))

    def admit(self, user: str) -> None:
        """Count one request; a guest may ask so often and no more. Raises TooFast, Answering."""
        if user == OWNER:
            return
        if self.answers.of(user) >= GUEST_ANSWERS:
            raise Answering("Your earlier messages are still being answered.", hint="Wait for their end, or stop them.")
        self.rates.take(user)


def _check(turns: Sequence[Turn], new: Sequence[Turn]) -> None:
    if all(turn.empty for turn in turns):
        raise TooMuch("There is nothing to answer.", hint="Write something first.")
    _check_sizes(new)


def _check_sizes(new: Sequence[Turn]) -> None:
    for turn in new:
        if len(turn.text) > MAX_CHARS:
            raise TooMuch(f"That is {len(turn.text):,} characters.", hint=f"At most {MAX_CHARS:,} go into one message.")
        if len(turn.pictures) > MAX_PICTURES:
            raise TooMuch(f"At most {MAX_PICTURES} pictures go into one message.")
        if any(len(picture) > MAX_PICTURE_BYTES for picture in turn.pictures):
            raise TooMuch(f"A picture has at most {MAX_PICTURE_BYTES >> 20} MiB.", hint="Send a smaller one.")
        if "octet-stream" in map(kind, turn.pictures):
            raise NoPicture("That file is no picture.", hint="PNG, JPEG, WebP and GIF can be looked at.")
