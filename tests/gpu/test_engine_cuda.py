"""The engine on CUDA: graphs on, TF32 off, against `generate` on the same device. Skipped where there is no GPU.

These tests have never been run: no GPU was at hand when they were written. What they call runs on the CPU elsewhere.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from app.inference.engine import Engine, Limits
from app.inference.engine import machine as machines
from app.inference.engine.graphs import CudaRecorder, CudaRecording, Step
from app.inference.errors import OutOfMemory
from app.inference.types import Family, Precision, SamplingParams
from tests.support.inference_models import (
    ask,
    drain,
    generated,
    loaded,
    pictured,
    prompts,
    random_adapter,
    tiny_llama,
    tiny_llava,
    tiny_mpt,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and torch sees none"),
]

MODELS: dict[str, tuple[Family, Callable[[], Any]]] = {
    "llama": (Family.LLAMA, tiny_llama),
    "llama-shared-keys": (Family.LLAMA, lambda: tiny_llama(num_key_value_heads=2)),
    "mpt": (Family.MPT, tiny_mpt),
    "mpt-storywriter": (Family.MPT, lambda: tiny_mpt(bias_max=16, clip=1.5)),
}


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Products in full fp32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before)
    gc.collect()
    torch.cuda.empty_cache()


def limits(**changes: Any) -> Limits:
    return Limits(**({"max_running": 8, "chunk_tokens": 32, "kv_tokens": 4096, "page_tokens": 128} | changes))


@pytest.mark.parametrize("static", [None, False])
@pytest.mark.parametrize("name", MODELS)
def test_greedy_is_generate_token_for_token(name: str, static: bool | None) -> None:
    family, make = MODELS[name]
    reference = make().cuda()
    expected = [generated(reference, prompt, 40) for prompt in prompts(10)]
    engine = Engine(loaded(make().cuda(), family), limits(static=static))
    for _ in range(2):  # the second time, all graphs are there
        heard = [ask(engine, prompt, 40) for prompt in prompts(10)]
        drain(engine)
        assert [one.tokens for one in heard] == expected


@pytest.mark.parametrize("name", MODELS)
def test_who_was_paused_for_want_of_room_goes_on_as_if_nothing_had_been(name: str) -> None:
    family, make = MODELS[name]
    reference = make().cuda()
    asked = prompts(6, longest=20)
    expected = [generated(reference, prompt, 60) for prompt in asked]
    engine = Engine(loaded(make().cuda(), family), limits(kv_tokens=160, page_tokens=16, growth_tokens=16))
    heard = [ask(engine, prompt, 60) for prompt in asked]
    drain(engine)
    assert engine.stats.pauses > 0
    assert [one.tokens for one in heard] == expected


def test_adapters_in_one_batch() -> None:
    path = "model.layers.1.self_attn.q_proj"
    found = {name: random_adapter(tiny_llama(), name, [path], rank=4, seed=seed) for name, seed in (("a", 1), ("b", 2))}
    on_cpu = Engine(loaded(tiny_llama(), Family.LLAMA, adapters=found), limits(max_running=1))
    engine = Engine(loaded(tiny_llama().cuda(), Family.LLAMA, adapters=moved(found)), limits())
    sides = []
    for side in (on_cpu, engine):
        heard = [ask(side, prompt, 20, adapter=adapter) for prompt, adapter in zip(prompts(6), "ab" * 3, strict=True)]
        drain(side)
        sides.append([one.tokens for one in heard])
    assert sides[0] == sides[1]


def moved(adapters: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import replace

    return {
        name: replace(
            adapter,
            layers={path: replace(layer, a=layer.a.cuda(), b=layer.b.cuda()) for path, layer in adapter.layers.items()},
        )
        for name, adapter in adapters.items()
    }


def test_pictures() -> None:
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0)).cuda()
    expected = generated(tiny_llava().cuda(), pictured(20), 20, pixel_values=pixels)
    engine = Engine(loaded(tiny_llava().cuda(), Family.LLAVA), limits(chunk_tokens=17))
    for _ in range(2):  # the second time, the picture's keys and values are there
        heard = ask(engine, pictured(20), 20, pixels=pixels)
        drain(engine)
        assert heard.tokens == expected
    assert heard.started.reused_tokens > 0


def test_a_seed_fixes_the_answer_whatever_else_is_in_the_batch() -> None:
    params = SamplingParams(max_tokens=20, temperature=0.9, top_p=0.9, top_k=40, repetition_penalty=1.2, seed=5)
    engine = Engine(loaded(tiny_llama().cuda(), Family.LLAMA), limits())
    alone = ask(engine, [5, 6, 7], 20, sampling=params)
    drain(engine)
    for _ in range(3):
        ask(engine, [9, 8], 20, sampling=SamplingParams(max_tokens=20, temperature=1.5))
    crowded = ask(engine, [5, 6, 7], 20, sampling=params)
    drain(engine)
    assert crowded.tokens == alone.tokens


@pytest.mark.parametrize("precision, recorded", [(Precision.FP32, True), (Precision.INT8, False)])
def test_int8_decodes_without_graphs(precision: Precision, recorded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[CudaRecording] = []

    class Watched(CudaRecorder):
        def __call__(self, step: Step) -> CudaRecording:
            made.append(recording := super().__call__(step))
            return recording

    monkeypatch.setattr(machines, "CudaRecorder", Watched)
    engine = Engine(loaded(tiny_llama().cuda(), Family.LLAMA, precision=precision), limits())
    heard = ask(engine, [5, 6, 7], 20)
    drain(engine)
    assert bool(made) is recorded
    assert heard.tokens == generated(tiny_llama().cuda(), [5, 6, 7], 20)


def test_64_run_at_once_where_nothing_else_is_said() -> None:
    engine = Engine(loaded(tiny_llama().cuda(), Family.LLAMA), Limits(kv_tokens=72 * 128, page_tokens=128))
    heard = [ask(engine, [5 + n], 2) for n in range(70)]
    engine.step()
    assert (engine.stats.running, engine.stats.waiting) == (64, 6)
    drain(engine)
    assert all(one.finished for one in heard)


def test_memory_is_back_after_sleep_and_after_the_end() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    model = tiny_llama().cuda()
    weights = torch.cuda.memory_allocated()
    engine = Engine(loaded(model, Family.LLAMA), limits(kv_tokens=65536))
    heard = [ask(engine, prompt, 30) for prompt in prompts(8)]
    drain(engine)
    assert all(one.finished for one in heard)
    engine.suspend()
    gc.collect()
    assert torch.cuda.memory_allocated() - weights < 1 << 20
    engine.resume()
    again = ask(engine, prompts(1)[0], 30)
    drain(engine)
    assert again.tokens == heard[0].tokens
    del engine, model
    gc.collect()
    assert torch.cuda.memory_allocated() - before < 1 << 20


def test_no_room_for_keys_and_values_is_said_so() -> None:
    with pytest.raises(OutOfMemory):
        Engine(loaded(tiny_llama().cuda(), Family.LLAMA), limits(kv_tokens=1 << 34))
