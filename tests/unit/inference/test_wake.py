"""Sleep and wake of a real model on the CPU, by the steps that tests/gpu times on a GPU."""

from __future__ import annotations

import pytest

from app.inference.engine import Engine, Limits
from app.inference.pool.residency import storages_of
from app.inference.types import Family
from tests.support.inference_models import loaded, random_adapter, tiny_llama
from tests.support.inference_wake import slept

pytestmark = pytest.mark.usefixtures("one_thread")


def test_what_slept_answers_as_before_and_took_nothing_meanwhile() -> None:
    model = tiny_llama()
    adapter = random_adapter(tiny_llama(), "own", ["model.layers.1.self_attn.q_proj"], rank=4, seed=1)
    served = loaded(model, Family.LLAMA, adapters={"own": adapter})
    engine = Engine(served, Limits(max_running=2, kv_tokens=512))
    held = storages_of(served)
    total = sum(storage.nbytes() for storage in held)
    found = slept(engine, served, while_asleep=lambda: sum(storage.nbytes() for storage in held))
    assert found.before == found.after
    assert found.asleep == 0
    assert found.nbytes >= total > 0
