"""Writes the README of the demo checkpoints: what they are, what they can do, measured."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from training.measure import MEASURES, Figure
from training.optimise import report

README = """\
# Demo weights

These are **demo weights**: tiny models of the same classes and in the same files as the originals they are named
after, and a thousand times smaller. They know sums up to 20 + 20, some capitals, opposites, colours of things, a few
words in five languages, little stories, and the colour and shape in a small picture; to anything else they say that
they do not know it, or nonsense. They let the playground answer where there is no GPU and no real weights, and they
give the tests answers that can be right or wrong. They are not the originals and contain nothing of them. Unlike
the originals', no text of LLaMA's begins with `<s>`; the file of its tokenizer says so.

| directory | is | class |
|---|---|---|
| `llama-7b` | the base of both adapters, {llama} million weights | LlamaForCausalLM |
| `alpaca-lora-7b` | LoRA over it (q, k, v, o), in Alpaca's prompt | peft |
| `guanaco-7b` | LoRA trained on the base in 4-bit (QLoRA, all linear layers), in Guanaco's prompt | peft |
| `mpt-7b-chat`, `mpt-7b-instruct`, `mpt-7b-storywriter` | {mpt} million weights each | MptForCausalLM |
| `llava-1.5-7b` | CLIP tower, projector, LLaMA: {llava} million weights | LlavaForConditionalGeneration |

Together {megabytes:.1f} MB, fp16.

## What they can do

Measured on {date} on questions held out of training: operands (sums), casts (stories) and pictures that never occur in
it, facts in wordings that never occur in it. An answer counts as right when it is so letter by letter, greedily.

| model | measured | per cent | of | bar |
|---|---|---|---|---|
{rows}

`tests/integration/inference/test_demo_models.py` asserts each line.

## How they were made

`scripts/train-demo-models`, from nothing, on two processor cores in less than 90 minutes, out of sentences, stories and
pictures that the script makes up itself (`training/`). Seeds are fixed. `scripts/train-demo-models --only NAME` makes
one again.
"""


def describe(folder: Path) -> None:
    """Measures every checkpoint in `folder` on the test split and writes its README."""
    figures = [figure for measure in MEASURES for figure in measure(folder, "test")]
    for figure in figures:
        report(row(figure))
    (folder / "README.md").write_text(text(folder, figures), "utf-8")


def text(folder: Path, figures: Sequence[Figure]) -> str:
    return README.format(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        rows="\n".join(row(figure) for figure in figures),
        megabytes=megabytes(folder),
        llama=millions(folder / "llama-7b"),
        mpt=millions(folder / "mpt-7b-chat"),
        llava=millions(folder / "llava-1.5-7b"),
    )


def row(figure: Figure) -> str:
    return f"| {figure.model} | {figure.what} | {figure.value:.1f} | {figure.count} | {figure.bar} |"


def megabytes(folder: Path) -> float:
    """Of all files, in units of 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def millions(folder: Path) -> float:
    """Weights in a checkpoint, two bytes each."""
    return round((folder / "model.safetensors").stat().st_size / 2e6, 1)
