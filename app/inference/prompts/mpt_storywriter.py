"""MPT-7B-StoryWriter: it goes on from the text, nothing is put around it.

Source: the model card of mosaicml/mpt-7b-storywriter; there is no format.

The last thing the user said is the text. The model knows no instructions: a system message and earlier turns are left
out.
"""

from __future__ import annotations

from app.inference.prompts.controls import GPT_NEOX
from app.inference.prompts.conversation import Conversation, Format


def render(conversation: Conversation) -> str:
    return conversation.last.user[-1].text


FORMAT = Format(render=render, controls=GPT_NEOX)
