"""Messages -> Prompt: one pure renderer per model, in the exact words it was trained on.

Each renderer says in its docstring where the words come from and what a system message means to it. To add a model:
one small file with a `FORMAT`, its line below, and a golden prompt in the tests. Knows neither tokenizers nor torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from app.inference.errors import ImagesNotSupported
from app.inference.prompts import alpaca, guanaco, llava, mpt_chat, mpt_instruct, mpt_storywriter
from app.inference.prompts.controls import defused
from app.inference.prompts.conversation import Format, read
from app.inference.types import Message, Prompt

_FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "alpaca": alpaca.FORMAT,
        "guanaco": guanaco.FORMAT,
        "mpt-chat": mpt_chat.FORMAT,
        "mpt-instruct": mpt_instruct.FORMAT,
        "mpt-storywriter": mpt_storywriter.FORMAT,
        "llava": llava.FORMAT,
    }
)

NAMES: Final = tuple(_FORMATS)


def render(name: str, messages: Sequence[Message]) -> Prompt:
    """The prompt of the format `name` (one of NAMES) for a conversation that ends with the user.

    What a message says can never become a control token of the format. Raises BadRequest for a conversation that
    cannot be answered and ImagesNotSupported for a picture to a format without any.
    """
    form = _FORMATS[name]
    if not form.images and any(message.images for message in messages):
        raise ImagesNotSupported("This model reads text alone; it cannot look at a picture.", param="messages")
    conversation = read([defused(message, form.controls) for message in messages])
    images = tuple(image for turn in conversation.turns for image in turn.images)
    return Prompt(text=form.render(conversation), images=images, messages=tuple(messages))


def stops(name: str) -> tuple[str, ...]:
    """The strings at which an answer in the format `name` is over, besides the model's own end token."""
    return _FORMATS[name].stops


def reads_images(name: str) -> bool:
    return _FORMATS[name].images


__all__ = ["NAMES", "reads_images", "render", "stops"]
