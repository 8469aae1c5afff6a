"""In bf16, nf4 and int8 the engine's scores differ no more from `generate`'s than those of a batch from one alone.

The same tokens are forced on all three: transformers alone, transformers in a padded batch of eight, the flat batch.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from app.inference.engine import Engine, Limits
from app.inference.types import Family
from tests.support.inference_forced import (
    CASES,
    LENGTHS,
    Case,
    adapter_of,
    alone,
    distance,
    flat,
    in_a_batch,
    model_of,
    pixels,
    texts,
)
from tests.support.inference_models import ask, drain, loaded
from tests.support.inference_peft import PEFT_WARNS, by_peft

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings(PEFT_WARNS),
    # bitsandbytes says with each product that it computes in half precision
    pytest.mark.filterwarnings("ignore:MatMul8bitLt:UserWarning"),
]

# Both sides round the same numbers in another order, so neither distance is below the other as a rule: where the order
# is all that differs, a correct engine is above the bar as often as below it. This much is chance.
CHANCE = 1.1
# Of the scores' spread: what arithmetic in fp32 leaves open. transformers' MPT gives the same bits in a batch as alone,
# and whatever adds in another order does not.
ROUNDING = 5e-5


@pytest.mark.parametrize("case", CASES, ids=str)
def test_scores_differ_no_more_than_a_batch_from_one_alone(case: Case, tmp_path: Path) -> None:
    plain = model_of(case, tmp_path / "model")
    reference = by_peft(plain, adapter_of(case, plain)) if case.adapted else plain
    with torch.inference_mode():
        single, batched = alone(case, reference), in_a_batch(case, reference)
        found = flat(case, model_of(case, tmp_path / "model"))
        if case.family is Family.MPT and not case.precision.quantised:
            # transformers counts ALiBi's bias from the end of a text, which bf16 makes coarse; ours counts from each
            # query. So both are held against the same weights in fp32 arithmetic.
            single = alone(case, reference.float())
    spread = torch.cat([one.flatten() for one in single]).std().item()
    assert distance(found, single) <= CHANCE * distance(batched, single) + ROUNDING * spread


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
