"""Models asleep and awake on CUDA: how long a wake takes, and that memory is back where it was. Skipped without a GPU.

These tests have never been run on a GPU: none was at hand when they were written. Their steps run on the CPU in
tests/unit/inference/test_wake.py.
"""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from app.inference.engine import Engine, Limits
from app.inference.types import Family, Precision
from tests.support.inference_forced import CASES, Case, compared, model_of
from tests.support.inference_models import loaded, tiny_llama
from tests.support.inference_peft import PEFT_WARNS
from tests.support.inference_wake import slept

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and torch sees none"),
    pytest.mark.filterwarnings(PEFT_WARNS),
]

WAKE_S = 1.0  # for a model of 1 GiB: a bus of 4 GB/s, the slowest that a card of these years sits on, is done in 0.3
LEFT = 1 << 20  # bytes that the allocator may keep for itself


def allocated() -> int:
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated()


def test_a_wake_is_short_and_the_answer_the_same() -> None:
    model = tiny_llama(hidden_size=2048, intermediate_size=8192, num_hidden_layers=4, num_attention_heads=16,
                       num_key_value_heads=16).cuda()  # fmt: skip
    engine = Engine(loaded(model, Family.LLAMA), Limits(max_running=2, kv_tokens=2048, page_tokens=128))
    found = slept(engine, loaded(model, Family.LLAMA))
    assert found.after == found.before
    assert found.wake_s < WAKE_S, f"{found.nbytes / 1e9:.1f} GB took {found.wake_s:.2f} s"


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.NF4, Precision.INT8])
def test_memory_is_back_while_it_sleeps_and_when_it_is_gone(precision: Precision, tmp_path: Path) -> None:
    before = allocated()
    case = Case(Family.LLAMA, precision, device="cuda:0")
    model = tiny_llama().cuda() if precision is Precision.FP32 else model_of(case, tmp_path / "model")
    served = loaded(model, Family.LLAMA, precision=precision)
    engine = Engine(served, Limits(max_running=2, kv_tokens=4096, page_tokens=128))
    found = slept(engine, served, while_asleep=allocated)
    assert found.asleep - before < LEFT
    del engine, model, served
    assert allocated() - before < LEFT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_scores_differ_no_more_than_a_batch_from_one_alone(case: Case, tmp_path: Path) -> None:
    found, bar = compared(Case(case.family, case.precision, case.adapted, "cuda:0"), tmp_path / "model")
    assert found <= bar
