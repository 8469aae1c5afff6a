"""Adapters side by side give what PEFT gives with each alone, over plain and quantised layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from app.inference.engine import Engine, Limits
from app.inference.engine.lora import LoraLinear, Route, install
from app.inference.loaded import Adapter, LoraLayer
from app.inference.types import Family
from app.inference.weights import sizes
from tests.support.inference_models import ask, drain, generated, loaded, random_adapter, tiny_llama, tiny_mpt
from tests.support.inference_peft import PEFT_WARNS, by_peft

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
LINEARS = (*ATTENTION, "gate_proj", "up_proj", "down_proj")

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings(PEFT_WARNS),
]


def paths(model: Any, names: tuple[str, ...]) -> list[str]:
    return [path for path, _ in model.named_modules() if path.rpartition(".")[2] in names]


def adapters(model: Any, first: tuple[str, ...] = ATTENTION, second: tuple[str, ...] = LINEARS) -> dict[str, Adapter]:
    """Two of different ranks over different layers."""
    return {
        "alpaca": random_adapter(model, "alpaca", paths(model, first), rank=4, seed=1),
        "guanaco": random_adapter(model, "guanaco", paths(model, second), rank=8, seed=2),
    }


WORK = [([7 + 3 * n, 40, 90 + n] * (n + 1), 6 + n, ("alpaca", "guanaco", None)[n % 3]) for n in range(9)]


@pytest.mark.parametrize("static", [False, True])
def test_a_mixed_batch_is_what_peft_gives_one_by_one(static: bool) -> None:
    found = adapters(tiny_llama())
    references: dict[str | None, Any] = {name: by_peft(tiny_llama(), one) for name, one in found.items()}
    references[None] = tiny_llama()
    expected = [generated(references[adapter], prompt, count) for prompt, count, adapter in WORK]
    assert len({tuple(generated(one, WORK[0][0], 8)) for one in references.values()}) == 3  # each says its own
    limits = Limits(max_running=7, chunk_tokens=20, kv_tokens=1024, static=static)
    engine = Engine(loaded(tiny_llama(), Family.LLAMA, adapters=found), limits)
    heard = [ask(engine, prompt, count, adapter=adapter) for prompt, count, adapter in WORK]
    drain(engine)
    assert [one.tokens for one in heard] == expected


def test_an_adapter_of_mpt() -> None:
    found = {"poet": random_adapter(tiny_mpt(), "poet", paths(tiny_mpt(), ("Wqkv", "out_proj")), rank=4, seed=3)}
    expected = generated(by_peft(tiny_mpt(), found["poet"]), [5, 6, 7], 20)
    engine = Engine(loaded(tiny_mpt(), Family.MPT, adapters=found), Limits(kv_tokens=512))
    plain, poet = ask(engine, [5, 6, 7], 20), ask(engine, [5, 6, 7], 20, adapter="poet")
    drain(engine)
    assert poet.tokens == expected
    assert plain.tokens == generated(tiny_mpt(), [5, 6, 7], 20) != expected


def test_an_adapter_over_the_head() -> None:
    found = {"head": random_adapter(tiny_llama(), "head", ["lm_head", "model.layers.0.mlp.up_proj"], rank=4, seed=3)}
    expected = generated(by_peft(tiny_llama(), found["head"]), [5, 6, 7], 20)
    engine = Engine(loaded(tiny_llama(), Family.LLAMA, adapters=found), Limits(kv_tokens=512, chunk_tokens=16))
    heard = [ask(engine, [5, 6, 7], 20, adapter=name) for name in ("head", None, "head")]
    drain(engine)
    assert [one.tokens for one in heard] == [expected, generated(tiny_llama(), [5, 6, 7], 20), expected]


def test_each_token_sees_the_ranks_of_its_own_adapter() -> None:
    torch.manual_seed(0)
    base, route = torch.nn.Linear(6, 5), Route()
    parts = [LoraLayer(a=torch.randn(rank, 6), b=torch.randn(5, rank), scaling=0.5 * rank) for rank in (2, 3)]
    layer = LoraLinear(base, [parts[0], None, parts[1]], route)
    inputs = torch.randn(1, 4, 6)
    route.follow(torch.tensor([0, 1, 2, 3]))
    found = layer(inputs)[0]
    plain = base(inputs)[0]
    for row, part in ((1, parts[0]), (3, parts[1])):
        torch.testing.assert_close(found[row], plain[row] + part.scaling * part.b @ (part.a @ inputs[0, row]))
    torch.testing.assert_close(found[[0, 2]], plain[[0, 2]])
    route.follow(None)
    torch.testing.assert_close(layer(inputs)[0], plain)


def test_layers_without_adapters_stay_as_they_are() -> None:
    model = tiny_llama()
    indices = install(model, adapters(model, first=("q_proj",), second=("k_proj",)), Route())
    assert indices == {"alpaca": 1, "guanaco": 2}
    attention = model.model.layers[0].self_attn
    assert isinstance(attention.q_proj, LoraLinear)
    assert isinstance(attention.v_proj, torch.nn.Linear)


def test_adapters_are_held_once() -> None:
    model = tiny_llama()
    found = adapters(model)
    before = sizes.loaded(model, found.values())
    values = {path: (layer.a.clone(), layer.b.clone()) for path, layer in found["guanaco"].layers.items()}
    engine = Engine(loaded(model, Family.LLAMA, adapters=found), Limits(kv_tokens=512))
    tables = sum(module.table.nbytes for module in model.modules() if isinstance(module, LoraLinear))
    assert sizes.loaded(model, found.values()) == before + tables
    for path, (a, b) in values.items():
        assert torch.equal(found["guanaco"].layers[path].a, a)
        assert torch.equal(found["guanaco"].layers[path].b, b)
    assert engine.idle


def test_layers_of_the_same_ranks_and_other_scalings_are_told_apart() -> None:
    torch.manual_seed(0)
    route, inputs = Route(), torch.randn(3, 6)
    parts = [LoraLayer(a=torch.randn(2, 6), b=torch.randn(5, 2), scaling=scaling) for scaling in (0.5, 3.0)]
    layers = [LoraLinear(torch.nn.Linear(6, 5), [part], route) for part in parts]
    route.follow(torch.tensor([1, 1, 1]))
    for part, layer in zip(parts, layers, strict=True):
        expected = layer.base(inputs) + part.scaling * inputs @ part.a.T @ part.b.T
        torch.testing.assert_close(layer(inputs), expected)
