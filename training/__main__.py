"""Trains the demo checkpoints and writes down how good they are.

In all at most 90 minutes on two cores: what sits on the LLaMA base and what sits on MPT's are made side by side, one
processor thread each. An adapter needs llama-7b in the directory, made now or before.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from training.publish import describe
from training.sides import NAMES, train_all

DEMO = Path("app/inference/demo")


def main() -> None:
    arguments = parser().parse_args()
    train_all(arguments.out, frozenset(arguments.only), arguments.steps)
    if arguments.steps is None:
        describe(arguments.out)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="scripts/train-demo-models", description=__doc__)
    made.add_argument("--only", nargs="+", metavar="NAME", choices=NAMES, default=NAMES, help=", ".join(NAMES))
    made.add_argument("--out", type=Path, default=DEMO, help=f"directory of the checkpoints ({DEMO})")
    made.add_argument(
        "--steps", type=positive, metavar="N", help="a trial: at most N steps of each training, and nothing is measured"
    )
    return made


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    main()
