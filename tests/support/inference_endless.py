"""A LLaMA that says one word for ever: only its length, or somebody who stops it, ends its answers."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

DEMO = Path(__file__).parents[2] / "app" / "inference" / "demo" / "llama-7b"
WORD = "the"
_LOUD = 100.0  # against which nothing counts that an adapter adds


def write_endless(folder: Path) -> None:
    """The demo LLaMA's files in `folder`, with weights of which only the word is left.

    Every token is embedded the same, the layers add nothing to that, and the head knows the one word.
    """
    shutil.copytree(DEMO, folder)
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight", "lm_head.weight")):
            weight.zero_()
    word = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(WORD, add_special_tokens=False).ids[0]
    weights["model.embed_tokens.weight"].fill_(_LOUD)
    weights["lm_head.weight"][word] = weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def catalogue(folder: Path, *names: str) -> str:
    """The own models.toml by which the demos of these LLaMAs are that one, with long answers."""
    said = f'weights = "{folder}"\ncontext = 2048\ndefaults = {{ temperature = 0.0, max_tokens = 1900 }}\n'
    return "".join(f"[models.{name}.presets.demo]\n{said}" for name in names)
