"""The bench of a GPU, rehearsed: every step of it runs, over tiny models on the CPU."""

from __future__ import annotations

import pytest

from bench.core_cuda import measured, rehearsal

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
