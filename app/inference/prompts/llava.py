"""LLaVA 1.5: the Vicuna v1 conversation, pictures before the question they belong to.

Source: github.com/haotian-liu/LLaVA, llava/conversation.py (053c284), `conv_vicuna_v1`, SeparatorStyle.TWO: a turn of
the user ends in " ", one of the assistant in "</s>"; answers are stripped as in llava/serve/gradio_web_server.py.
Without the system sentence it is the form of the documentation of LlavaForConditionalGeneration.

A system message takes the place of the sentence; an empty one leaves it out.
"""

from __future__ import annotations

from app.inference.prompts.controls import LLAMA
from app.inference.prompts.conversation import Conversation, Format, Turn

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
IMAGE = "<image>"


def render(conversation: Conversation) -> str:
    system = SYSTEM if conversation.system is None else conversation.system
    opening = f"{system} " if system else ""
    past = "".join(f"{_asked(turn)} {turn.answer.strip()}</s>" for turn in conversation.past)
    return opening + past + _asked(conversation.last)


def _asked(turn: Turn) -> str:
    pictures = f"{IMAGE}\n" * len(turn.images)
    return f"USER: {pictures}{turn.question} ASSISTANT:"


FORMAT = Format(render=render, stops=("</s>",), controls=(*LLAMA, IMAGE, "USER:", "ASSISTANT:"), images=True)
