"""Alpaca-LoRA: one instruction, and perhaps an input to it.

Source: github.com/tloen/alpaca-lora, templates/alpaca.json (8d58d37).

The model was trained on single instructions: earlier turns are left out. Where the conversation ends in two messages
of the user, the first is the instruction and the second its input; of more, the last is the input. A system message
leads the instruction.
"""

from __future__ import annotations

from app.inference.prompts.controls import LLAMA
from app.inference.prompts.conversation import Conversation, Format
from app.inference.prompts.instruction import MARKS, led_by, with_input, without_input


def render(conversation: Conversation) -> str:
    *instructions, last = (message.text for message in conversation.last.user)
    if not instructions:
        return without_input(led_by(conversation.system, last))
    return with_input(led_by(conversation.system, "\n".join(instructions)), last)


FORMAT = Format(render=render, stops=("### Instruction:",), controls=(*LLAMA, *MARKS))
