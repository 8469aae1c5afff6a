"""A conversation as renderers read it: a system message, finished turns, the turn to answer. Pure.

Knows nothing of any model's format; says what a conversation may look like at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from app.inference.errors import BadRequest
from app.inference.types import Message, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a user said, message by message, and the answer to it."""

    user: tuple[Message, ...]
    answer: str = ""

    @property
    def question(self) -> str:
        """Messages that follow each other without an answer are one question, a line each."""
        return "\n".join(message.text for message in self.user)

    @property
    def images(self) -> tuple[bytes, ...]:
        return tuple(image for message in self.user for image in message.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """`system` is None where there is no system message: an empty one is the wish for none at all."""

    system: str | None
    past: tuple[Turn, ...]
    last: Turn  # without an answer

    @property
    def turns(self) -> tuple[Turn, ...]:
        return (*self.past, self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How one model wants to be spoken to.

    `stops`: strings that begin what is not the answer any more. `controls`: strings that mean something to the model's
    tokenizer or mark a turn, and which no message may therefore hold as they are.
    """

    render: Callable[[Conversation], str]
    stops: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    images: bool = False


def read(messages: Sequence[Message]) -> Conversation:
    """The conversation that `messages` are. Raises BadRequest for one that cannot be answered."""
    said = [message for message in messages if message.role is not Role.SYSTEM]
    if not said or said[-1].role is not Role.USER:
        raise BadRequest("A conversation ends with a message of the user, which is then answered.", param="messages")
    if said[0].role is Role.ASSISTANT:
        raise BadRequest("A conversation begins with a message of the user.", param="messages")
    if any(message.images and message.role is not Role.USER for message in messages):
        raise BadRequest("A picture can stand in a message of the user only.", param="messages")
    *past, last = _turns(said)
    return Conversation(system=_system(messages), past=tuple(past), last=last)


def _system(messages: Iterable[Message]) -> str | None:
    texts = [message.text for message in messages if message.role is Role.SYSTEM]
    return "\n".join(texts) if texts else None


def _turns(said: Iterable[Message]) -> list[Turn]:
    groups = [tuple(group) for _, group in groupby(said, key=lambda message: message.role)]
    questions, answers = groups[0::2], [*groups[1::2], ()]
    return [
        Turn(user=question, answer="\n".join(message.text for message in answer))
        for question, answer in zip(questions, answers, strict=True)
    ]
