"""What the bench of the core publishes; and that of a GPU, rehearsed: every step runs, over tiny models on the CPU."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
import torch

from bench import core, results
from bench.core_cuda import measured, rehearsal
from bench.results import Row

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # bitsandbytes says with each product that it computes in half precision
    pytest.mark.filterwarnings("ignore:MatMul8bitLt:UserWarning"),
]


def test_every_row_of_the_gpus_table_is_there() -> None:
    rows = {row.name: row for row in measured(rehearsal(), pairs=1)}
    assert all(row.value >= 0 for row in rows.values())
    for part in ("copied", "of what the bandwidth allows", "compiled generate", "wake of", "padded batches",
                 "continuous batching"):  # fmt: skip
        assert any(part in name for name in rows), part
    assert {row.name.partition(":")[0] for row in rows.values() if row.bar} == {
        "1 client, bf16", "1 client", "2 clients",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "published"),
    [([], True), (["--pairs", "6"], True), (["--pairs", "4"], False), (["--only", "abc"], False)],
)
def test_only_the_whole_is_published(
    arguments: list[str], published: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def part(bench: core.Bench) -> list[Row]:
        """A part of it."""
        return [Row(name="pairs", value=bench.pairs, unit="")]

    for name in ("throughput", "waiting", "adapters", "turns"):
        monkeypatch.setattr(core, name, part)
    monkeypatch.setattr(core, "model", lambda: None)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["core", *arguments])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(logging.getLogger("transformers"), "setLevel", lambda _: None)
    assert core.main() == 0
    assert (tmp_path / "core.json").exists() is published
