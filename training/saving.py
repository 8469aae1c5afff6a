"""Writes a checkpoint: weights in half precision as safetensors, with what reads its text beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import LlavaProcessor, PreTrainedTokenizerBase

Model = Any  # of transformers, or a peft one around it: nothing annotated is common to them that generates or halves


def save(model: Model, reader: PreTrainedTokenizerBase | LlavaProcessor, folder: Path) -> None:
    model.half().save_pretrained(folder)
    reader.save_pretrained(folder)
