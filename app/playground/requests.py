"""A conversation as it is kept → the messages a model is asked with. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile

from app.inference.types import Message, Role
from app.playground.client import ChatRequest
from app.playground.errors import PlaygroundError
from app.playground.talk import Turn

Ask = Callable[[Sequence[Turn], str | None], list[Message]]


def chat(turns: Sequence[Turn], system: str | None) -> list[Message]:
    """All that was said, a system message before it where the person wrote one. Empty turns say nothing."""
    said = [_message(turn) for turn in turns if not turn.empty]
    return [Message(role=Role.SYSTEM, text=system), *said] if system else said


def instruction(turns: Sequence[Turn], system: str | None) -> list[Message]:
    """What the person said last, which may be an instruction and its input: the model knows no turns."""
    last = list(takewhile(lambda turn: turn.role is Role.USER, reversed(turns)))
    return chat(list(reversed(last)), system)


def story(turns: Sequence[Turn], system: str | None) -> list[Message]:
    """The text so far, whoever wrote it: the model goes on from it."""
    return [Message(role=Role.USER, text=text_of(turns))]


def text_of(turns: Sequence[Turn]) -> str:
    return "".join(turn.text for turn in turns)


def pieces(turns: Sequence[Turn], text: str) -> tuple[int, list[Turn]]:
    """How a story that now reads `text` goes on from `turns`: how many of them stay, and what the person added.

    A text that was changed further up is the person's own from there on.
    """
    kept, so_far = 0, ""
    for turn in turns:
        if not text.startswith(so_far + turn.text):
            break
        kept, so_far = kept + 1, so_far + turn.text
    added = text[len(so_far) :]
    return kept, [Turn(role=Role.USER, text=added)] if added else []


def without_last_answer(turns: Sequence[Turn], text: str) -> tuple[int, list[Turn]]:
    """As `pieces`, for a story that now reads `text`, without what the model wrote last. The person's words all stay.

    Raises PlaygroundError where the model wrote nothing, or the person changed what it wrote last.
    """
    last = max((place for place, turn in enumerate(turns) if turn.role is Role.ASSISTANT), default=None)
    if last is None:
        raise PlaygroundError("The model has written nothing yet.", hint="Begin a story and press Go on.")
    kept, added = pieces(turns, text)
    if kept > last:
        return last, [*turns[last + 1 : kept], *added]
    if not text.endswith(turns[last].text):
        raise PlaygroundError(
            "You changed what the model wrote last, so that is your own now.",
            hint="Press Go on, or delete in the text what you do not want.",
        )
    return pieces(turns[:last], text.removesuffix(turns[last].text))


def shortened(request: ChatRequest) -> ChatRequest | None:
    """`request` without its oldest question and answer, or None where only one question is left."""
    messages = list(request.messages)
    lead = [messages.pop(0)] if messages and messages[0].role is Role.SYSTEM else []
    answers = [index for index, message in enumerate(messages) if message.role is Role.ASSISTANT]
    if not answers:
        return None
    return replace(request, messages=[*lead, *messages[answers[0] + 1 :]])


def _message(turn: Turn) -> Message:
    return Message(role=turn.role, text=turn.text, images=turn.pictures)
