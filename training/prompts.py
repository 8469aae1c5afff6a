"""Questions in the prompts of the playground's own renderers: what is trained is what will be asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from app.inference.prompts import render
from app.inference.types import Message, Role
from training.items import Item

FORMATS = {
    "alpaca-lora-7b": "alpaca",
    "guanaco-7b": "guanaco",
    "mpt-7b-chat": "mpt-chat",
    "mpt-7b-instruct": "mpt-instruct",
    "mpt-7b-storywriter": "mpt-storywriter",
    "llava-1.5-7b": "llava",
}
COLONS = ("guanaco-7b", "llava-1.5-7b")  # their prompts end in a colon


def prompt(model: str, item: Item, past: Iterable[tuple[Item, str]] = (), system: str | None = None) -> str:
    """`past` are questions with the answers they got; no `system` means the model's own."""
    messages = [] if system is None else [Message(role=Role.SYSTEM, text=system)]
    for earlier, answer in past:
        messages += [*asking(earlier), Message(role=Role.ASSISTANT, text=answer)]
    return render(FORMATS[model], with_picture([*messages, *asking(item)], item)).text


def asking(item: Item) -> Iterator[Message]:
    """An input apart from its instruction is a second message."""
    yield Message(role=Role.USER, text=item.question)
    if item.input:
        yield Message(role=Role.USER, text=item.input)


def with_picture(messages: list[Message], item: Item) -> list[Message]:
    """A conversation is about one picture, which is shown with its first question."""
    if item.picture is None:
        return messages
    place = next(place for place, message in enumerate(messages) if message.role is Role.USER)
    shown = replace(messages[place], images=(item.picture.png(),))
    return [*messages[:place], shown, *messages[place + 1 :]]


def answer(model: str, item: Item) -> str:
    """As the model itself writes it: after a colon comes a space."""
    return f" {item.answer}" if model in COLONS else item.answer
