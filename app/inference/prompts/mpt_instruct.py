"""MPT-7B-Instruct: one instruction, as in the data it was trained on.

Source: github.com/mosaicml/llm-foundry, llmfoundry/data/finetuning/tasks.py (dolly_hhrlhf).

The model was trained on single instructions: earlier turns are left out. A system message leads the instruction.
"""

from __future__ import annotations

from app.inference.prompts.controls import GPT_NEOX
from app.inference.prompts.conversation import Conversation, Format
from app.inference.prompts.instruction import MARKS, led_by, without_input


def render(conversation: Conversation) -> str:
    return without_input(led_by(conversation.system, conversation.last.question))


FORMAT = Format(render=render, stops=("### End", "### Instruction:"), controls=(*GPT_NEOX, *MARKS))
