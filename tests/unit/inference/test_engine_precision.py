"""In bf16, nf4 and int8 the engine's scores differ no more from `generate`'s than those of a batch from one alone.

The same tokens are forced on all three: transformers alone, transformers in a padded batch of eight, the flat batch.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from app.inference.engine import Engine, Limits
from app.inference.types import Family
from tests.support.inference_forced import CASES, LENGTHS, Case, adapter_of, compared, model_of, pixels, texts
from tests.support.inference_models import ask, drain, loaded
from tests.support.inference_peft import PEFT_WARNS

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings(PEFT_WARNS),
    # bitsandbytes says with each product that it computes in half precision
    pytest.mark.filterwarnings("ignore:MatMul8bitLt:UserWarning"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_scores_differ_no_more_than_a_batch_from_one_alone(case: Case, tmp_path: Path) -> None:
    found, bar = compared(case, tmp_path / "model")
    assert found <= bar


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_engine_streams_in_every_precision(case: Case, tmp_path: Path) -> None:
    model = model_of(case, tmp_path / "model")
    adapters = {"own": adapter_of(case, model)} if case.adapted else {}
    served = loaded(model, case.family, precision=case.precision, adapters=adapters)
    engine = Engine(served, Limits(kv_tokens=1024, chunk_tokens=16))
    shown = pixels(case, model.dtype)
    heard = [
        ask(engine, ids, 6, adapter="own" if case.adapted else None,
            pixels=one[None] if case.family is Family.LLAVA else None)
        for ids, one in zip(texts(case), shown, strict=True)
    ]  # fmt: skip
    drain(engine)
    assert [len(one.tokens) for one in heard] == [6] * len(LENGTHS)
