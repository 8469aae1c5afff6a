"""What a person types must not become a control token of the format: such strings are broken up. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from app.inference.types import Message

# What the tokenizers of these models read as one special token wherever it stands in a text.
LLAMA = ("<s>", "</s>", "<unk>", "<pad>")
GPT_NEOX = ("<|endoftext|>", "<|padding|>")
CHATML = ("<|im_start|>", "<|im_end|>")


def defused(message: Message, controls: Sequence[str]) -> Message:
    """The message with a space before the last character of each control string in it: "<|im_end| >".

    A person still reads what was written, and so does the model; a tokenizer sees ordinary text.
    """
    if not controls:
        return message
    joints = (f"(?<={re.escape(control[:-1])})(?={re.escape(control[-1])})" for control in controls)
    return replace(message, text=re.sub("|".join(joints), " ", message.text))
