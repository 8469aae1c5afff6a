"""The two halves of the work, each in a process of its own: what sits on the LLaMA base, and what sits on MPT's.

They are functions of a module that can be imported: a process that is spawned does not import a package's `__main__`.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from training import llama, llava, lora, mpt

BASE = "llama-7b"
NAMES = (BASE, *lora.RECIPES, llava.NAME, *mpt.RECIPES)


def train_all(out: Path, wanted: Collection[str], most: int | None) -> None:
    """Writes each wanted checkpoint to its directory in `out`, after at most so many steps of each training."""
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn"), initializer=one_thread) as processes:
        sides = [processes.submit(side, out, wanted, most) for side in (train_llamas, train_mpts)]
        for made in sides:
            made.result()


def one_thread() -> None:
    """Models as small as these gain little from a second one."""
    torch.set_num_threads(1)


def train_llamas(out: Path, wanted: Collection[str], most: int | None) -> None:
    """The base, its two adapters, and LLaVA, which is LLaMA's class too."""
    if BASE in wanted:
        llama.train_llama(out / BASE, most)
    for name in lora.RECIPES:
        if name in wanted:
            lora.train_adapter(name, out / BASE, out / name, most)
    if llava.NAME in wanted:
        llava.train_llava(out / llava.NAME, most)


def train_mpts(out: Path, wanted: Collection[str], most: int | None) -> None:
    """All three from one base, which is not kept."""
    names = [name for name in mpt.RECIPES if name in wanted]
    if not names:
        return
    with TemporaryDirectory() as room:
        mpt.train_base(Path(room), most)
        for name in names:
            mpt.train_on(name, Path(room), out / name, most)
