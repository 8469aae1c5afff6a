"""Weights that are taken out of a model and put back: the model is the same, and takes nothing meanwhile.

On the CPU, where a storage can be emptied as well as on a GPU; pinned memory is for tests/gpu.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from app.inference.loaded import Adapter, LoadedModel, LoraLayer
from app.inference.pool.residency import lock_pages, park, storages_of
from app.inference.types import Family, Precision


def loaded(model: torch.nn.Module, adapters: dict[str, Adapter] | None = None) -> LoadedModel:
    return LoadedModel(
        family=Family.LLAMA,
        model=model,  # type: ignore[arg-type]  # any module does
        tokenizer=None,  # type: ignore[arg-type]  # not asked for
        adapters=adapters or {},
        precision=Precision.FP32,
        dtype=torch.float32,
        device=torch.device("cpu"),
        context=64,
        eos_ids=frozenset(),
        nbytes=0,
    )


def tiny_llama(*, tied: bool = False) -> torch.nn.Module:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    model: torch.nn.Module = LlamaForCausalLM(config)
    return model.eval()


def in_storages(model: LoadedModel) -> int:
    return sum(storage.nbytes() for storage in storages_of(model))


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_is_the_same_after_it_slept(tied: bool) -> None:
    model = tiny_llama(tied=tied)
    here = loaded(model)
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.inference_mode():
        before = model(ids).logits
    size = in_storages(here)
    weights = sum({p.data_ptr(): p.numel() * p.element_size() for p in model.parameters()}.values())
    assert size >= weights
    asleep = park(here)
    assert size <= asleep.nbytes <= size + 512 * len(list(model.parameters()))
    assert in_storages(here) == 0
    assert all(parameter.untyped_storage().nbytes() == 0 for parameter in model.parameters())
    asleep.restore()
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, before)
    assert in_storages(here) == size


def test_quantised_layers_sleep_with_their_scales() -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="the core's packages are not installed")
    torch.manual_seed(5)
    linear = torch.nn.Linear(128, 128, bias=False)
    for layer, arguments in (
        (bitsandbytes.nn.Linear4bit, {"quant_type": "nf4", "compress_statistics": True}),
        (bitsandbytes.nn.Linear8bitLt, {"has_fp16_weights": False}),
    ):
        made = layer(128, 128, bias=False, **arguments)
        made.load_state_dict(linear.state_dict())
        model = torch.nn.Sequential(made.to("cpu"))
        rows = torch.randn(3, 128)
        with torch.inference_mode():
            before = model(rows)
        here = loaded(model)
        size = in_storages(here)
        assert size < 128 * 128 * 4, "it is quantised"
        asleep = park(here)
        assert in_storages(here) == 0
        asleep.restore()
        with torch.inference_mode():
            assert torch.equal(model(rows), before)


def test_views_and_adapters_sleep_too() -> None:
    model = torch.nn.Linear(8, 8)
    view = model.weight[:4].detach()
    layer = LoraLayer(a=torch.ones(2, 8), b=torch.ones(8, 2), scaling=1.0)
    here = loaded(model, {"one": Adapter(name="one", layers={"": layer})})
    asleep = park(here)
    assert asleep.nbytes == 4 * 512, "four storages of less than 512 bytes, each begun anew"
    assert layer.a.untyped_storage().nbytes() == view.untyped_storage().nbytes() == 0
    asleep.restore()
    assert torch.equal(view, model.weight[:4])
    assert torch.equal(layer.a, torch.ones(2, 8))


@dataclass
class PretendCudart:
    """The two calls of CUDA's runtime that lock pages; `refuses` is the error that locking ends with."""

    refuses: int = 0
    locked: dict[int, int] = field(default_factory=dict)

    def cudaHostRegister(self, address: int, nbytes: int, flags: int) -> int:  # noqa: N802  # its name in CUDA
        assert flags == 0
        assert address not in self.locked
        if not self.refuses:
            self.locked[address] = nbytes
        return self.refuses

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802  # likewise
        del self.locked[address]
        return 0


@pytest.mark.parametrize("end", ["restored", "let go"])
def test_as_much_host_memory_is_locked_as_the_weights_take_until_they_wake_or_are_let_go(end: str) -> None:
    cudart, model = PretendCudart(), tiny_llama()
    here = loaded(model)
    size = in_storages(here)
    asleep = park(here, lambda host: lock_pages(cudart, host.device, host))
    (locked,) = cudart.locked.values()
    assert locked == asleep.nbytes
    assert locked < size * 1.05, "no powers of two"
    if end == "restored":
        asleep.restore()
        assert in_storages(here) == size
        assert asleep.nbytes == 0
    else:
        del asleep
    assert cudart.locked == {}


def test_where_no_pages_can_be_locked_weights_sleep_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    cudart, model = PretendCudart(refuses=2), tiny_llama()
    weight = model.get_parameter("lm_head.weight").detach().clone()
    asleep = park(loaded(model), lambda host: lock_pages(cudart, host.device, host))
    asleep.restore()
    assert torch.equal(model.get_parameter("lm_head.weight"), weight)
    assert "could not be locked (CUDA error 2)" in caplog.text
