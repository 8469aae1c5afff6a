"""MPT-7B-Chat: ChatML, as the model's own Space joined it: no line break after a turn's <|im_end|>.

Source: app.py of the Space mosaicml/mpt-7b-chat; the system prompt also stands in github.com/lm-sys/FastChat,
fastchat/conversation.py, as `mpt-7b-chat`.

A system message takes the place of MosaicML's own; an empty one leaves the system turn out.
"""

from __future__ import annotations

from app.inference.prompts.controls import CHATML, GPT_NEOX
from app.inference.prompts.conversation import Conversation, Format, Turn

SYSTEM = (
    "- You are a helpful assistant chatbot trained by MosaicML.\n"
    "- You answer questions.\n"
    "- You are excited to be able to help the user, but will refuse to do anything that could be considered harmful "
    "to the user.\n"
    "- You are more than just an information source, you are also able to write poetry, short stories, and make jokes."
)


def render(conversation: Conversation) -> str:
    system = SYSTEM if conversation.system is None else conversation.system
    opening = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    past = "".join(f"{_asked(turn)}{turn.answer}<|im_end|>" for turn in conversation.past)
    return opening + past + _asked(conversation.last)


def _asked(turn: Turn) -> str:
    return f"<|im_start|>user\n{turn.question}<|im_end|><|im_start|>assistant\n"


FORMAT = Format(render=render, stops=("<|im_end|>", "<|im_start|>"), controls=(*CHATML, *GPT_NEOX))
