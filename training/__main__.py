"""Trains the demo checkpoints and writes down how good they are.

In all at most 90 minutes on two cores. What is made first is the base of what follows: an adapter needs llama-7b in
the directory, made now or before.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from training import llama, llava, lora, mpt
from training.publish import describe

DEMO = Path("app/inference/demo")
NAMES = ("llama-7b", *lora.RECIPES, *mpt.RECIPES, llava.NAME)


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    with TemporaryDirectory() as room:
        makers = makers_for(arguments.out, Path(room))
        for name in NAMES:
            if name in arguments.only:
                makers[name]()
    describe(arguments.out)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="scripts/train-demo-models", description=__doc__)
    made.add_argument("--only", nargs="+", metavar="NAME", choices=NAMES, default=NAMES, help=", ".join(NAMES))
    made.add_argument("--threads", type=int, default=2, help="processor threads (2)")
    made.add_argument("--out", type=Path, default=DEMO, help=f"directory of the checkpoints ({DEMO})")
    return made


def makers_for(out: Path, room: Path) -> Mapping[str, Callable[[], None]]:
    """What makes each checkpoint. MPT's common base is made once, in `room`, and only if it is needed."""

    def train_mpt(name: str) -> None:
        if not (room / "mpt").exists():
            mpt.train_base(room / "mpt")
        mpt.train_on(name, room / "mpt", out / name)

    return {
        "llama-7b": partial(llama.train_llama, out / "llama-7b"),
        **{name: partial(lora.train_adapter, name, out / "llama-7b", out / name) for name in lora.RECIPES},
        **{name: partial(train_mpt, name) for name in mpt.RECIPES},
        llava.NAME: partial(llava.train_llava, out / llava.NAME),
    }


if __name__ == "__main__":
    main()
