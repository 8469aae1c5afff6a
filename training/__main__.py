"""Trains the demo checkpoints and writes down how good they are.

In all at most 90 minutes on two cores: what sits on the LLaMA base and what sits on MPT's are made side by side, one
processor thread each, since models as small as these gain little from a second one. An adapter needs llama-7b in the
directory, made now or before.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from training import llama, llava, lora, mpt
from training.publish import describe

DEMO = Path("app/inference/demo")
BASE = "llama-7b"
NAMES = (BASE, *lora.RECIPES, llava.NAME, *mpt.RECIPES)


def main() -> None:
    arguments = parser().parse_args()
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn"), initializer=one_thread) as processes:
        sides = [
            processes.submit(side, arguments.out, frozenset(arguments.only)) for side in (train_llamas, train_mpts)
        ]
        for made in sides:
            made.result()
    describe(arguments.out)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="scripts/train-demo-models", description=__doc__)
    made.add_argument("--only", nargs="+", metavar="NAME", choices=NAMES, default=NAMES, help=", ".join(NAMES))
    made.add_argument("--out", type=Path, default=DEMO, help=f"directory of the checkpoints ({DEMO})")
    return made


def one_thread() -> None:
    torch.set_num_threads(1)


def train_llamas(out: Path, wanted: Collection[str]) -> None:
    """The base, its two adapters, and LLaVA, which is LLaMA's class too."""
    if BASE in wanted:
        llama.train_llama(out / BASE)
    for name in lora.RECIPES:
        if name in wanted:
            lora.train_adapter(name, out / BASE, out / name)
    if llava.NAME in wanted:
        llava.train_llava(out / llava.NAME)


def train_mpts(out: Path, wanted: Collection[str]) -> None:
    """All three from one base, which is not kept."""
    names = [name for name in mpt.RECIPES if name in wanted]
    if not names:
        return
    with TemporaryDirectory() as room:
        mpt.train_base(Path(room))
        for name in names:
            mpt.train_on(name, Path(room), out / name)


if __name__ == "__main__":
    main()
