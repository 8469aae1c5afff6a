"""The words that Stanford Alpaca put around an instruction, and that others took over. Pure."""

from __future__ import annotations

HEADER = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
HEADER_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
)
MARKS = ("### Instruction:", "### Input:", "### Response:")


def without_input(instruction: str) -> str:
    return f"{HEADER}### Instruction:\n{instruction}\n\n### Response:\n"


def with_input(instruction: str, further: str) -> str:
    return f"{HEADER_WITH_INPUT}### Instruction:\n{instruction}\n\n### Input:\n{further}\n\n### Response:\n"


def led_by(system: str | None, instruction: str) -> str:
    """These formats have no place for a system message: it leads the instruction, in a paragraph of its own."""
    return f"{system}\n\n{instruction}" if system else instruction
