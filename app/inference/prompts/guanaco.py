"""Guanaco, in the words of the Guanaco Playground TGI.

Source: app.py of the Space uwnlp/guanaco-playground-tgi (mirror github.com/camenduru/guanaco-playground-tgi-hf). Its
joints are kept as they are: a line break before each finished turn, none before the current one, none after the header.
The mirror at e86b69f has one more space, before "### Assistant:"; the authors' own notebook and script have none there.

The header is a system prompt in all but name: a system message takes its place, an empty one leaves it out.

What was computed for a prompt is of use to the next only as far as its last turn: once that turn is past, a line break
stands before it. So a second question is read again from the start of the first, a third from that of the second.
"""

from __future__ import annotations

from app.inference.prompts.controls import LLAMA
from app.inference.prompts.conversation import Conversation, Format, Turn

HEADER = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
MARKS = ("### Human:", "### Assistant:")


def render(conversation: Conversation) -> str:
    header = HEADER if conversation.system is None else conversation.system
    return header + "".join(f"\n{_turn(turn)}" for turn in conversation.past) + _turn(conversation.last)


def _turn(turn: Turn) -> str:
    return f"### Human: {turn.question}\n### Assistant:{turn.answer.rstrip()}"


FORMAT = Format(render=render, stops=MARKS, controls=(*LLAMA, *MARKS))
