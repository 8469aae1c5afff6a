"""LoRA adapters in their original files, against peft's own model over the same base."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn

from app.inference import weights
from app.inference.errors import InferenceError, WeightsCorrupt, WeightsMismatch, WeightsMissing
from app.inference.loaded import Adapter, LoadedModel, LoraLayer
from app.inference.types import Family, ModelCard, Precision, SamplingParams
from tests.support import inference_checkpoints as checkpoints

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
IDS = torch.tensor([[1, 259, 5, 200, 30, 17, 260]])
WRITERS = {"alpaca": checkpoints.write_alpaca, "guanaco": checkpoints.write_guanaco}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.write_llama(tmp_path_factory.mktemp("base"), checkpoints.llama(), "safetensors")


def cards(base: Path, *adapters: Path, precision: Precision = Precision.FP32) -> list[ModelCard]:
    return [
        ModelCard(
            name=adapter.name,
            title="",
            family=Family.LLAMA,
            weights=str(base),
            adapter=str(adapter),
            precision=precision,
            prompt="alpaca",
            context=128,
            defaults=SamplingParams(),
        )
        for adapter in adapters
    ]


def load(base: Path, *adapters: Path, precision: Precision = Precision.FP32) -> LoadedModel:
    return weights.load(cards(base, *adapters, precision=precision), CPU, lambda what, fraction: None)


def with_adapter(loaded: LoadedModel, adapter: Adapter) -> torch.Tensor:
    """The logits of the base with the update added to each layer, as the engine is told to."""
    hooks = [
        loaded.model.get_submodule(path).register_forward_hook(adding(layer)) for path, layer in adapter.layers.items()
    ]
    with torch.inference_mode():
        found = loaded.model(IDS).logits
    for hook in hooks:
        hook.remove()
    assert isinstance(found, torch.Tensor)
    return found


def adding(layer: LoraLayer) -> Callable[[nn.Module, tuple[torch.Tensor], torch.Tensor], torch.Tensor]:
    def update(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return output + layer.scaling * (inputs[0] @ layer.a.T @ layer.b.T)

    return update


def by_peft(directory: Path) -> torch.Tensor:
    model = checkpoints.llama()
    for weight in model.parameters():
        weight.data = weight.data.half().float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that today's peft has no use for
        adapted = PeftModel.from_pretrained(model, str(directory))
    with torch.inference_mode():
        found = adapted(input_ids=IDS).logits
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize("name", WRITERS)
def test_the_updated_base_is_that_of_peft(name: str, kind: str, base: Path, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, kind)
    loaded = load(base, tmp_path / name)
    found = with_adapter(loaded, loaded.adapters[name])
    with torch.inference_mode():
        plain = loaded.model(IDS).logits
    torch.testing.assert_close(found, by_peft(tmp_path / name), rtol=0, atol=2e-5)
    assert (found - plain).abs().max() > 0.01


def test_adapters_of_one_base_are_keyed_by_their_cards(base: Path, tmp_path: Path) -> None:
    tensors = {name: write(tmp_path / name) for name, write in WRITERS.items()}
    found = load(base, tmp_path / "alpaca", tmp_path / "guanaco").adapters
    assert list(found) == ["alpaca", "guanaco"]
    assert [len(adapter.layers) for adapter in found.values()] == [2 * 4, 2 * 7]
    layer = found["guanaco"].layers["model.layers.1.mlp.down_proj"]
    stem = "base_model.model.model.layers.1.mlp.down_proj"
    assert torch.equal(layer.a, tensors["guanaco"][f"{stem}.lora_A.weight"])
    assert torch.equal(layer.b, tensors["guanaco"][f"{stem}.lora_B.weight"])
    assert (layer.scaling, layer.a.shape, layer.b.shape) == (16 / 64, (64, 128), (64, 64))


@pytest.mark.parametrize("precision", Precision)
def test_adapters_are_of_the_activations_type(precision: Precision, base: Path, tmp_path: Path) -> None:
    checkpoints.write_alpaca(tmp_path / "alpaca")
    loaded = load(base, tmp_path / "alpaca", precision=precision)
    layers = loaded.adapters["alpaca"].layers.values()
    assert {half.dtype for layer in layers for half in (layer.a, layer.b)} == {loaded.dtype}


@pytest.mark.parametrize(
    ("keys", "scaling"),
    [
        ({"use_rslora": True}, 16 / 4),
        ({"lora_alpha": 32}, 2.0),
        ({"alpha_pattern": {"q_proj": 8}}, 0.5),
        ({"alpha_pattern": {"layers.1.self_attn.q_proj": 8}}, 1.0),
    ],
)
def test_scaling_is_that_of_peft(keys: dict[str, object], scaling: float, base: Path, tmp_path: Path) -> None:
    checkpoints.write_alpaca(tmp_path / "alpaca")
    rewrite(tmp_path / "alpaca", keys)
    loaded = load(base, tmp_path / "alpaca")
    assert loaded.adapters["alpaca"].layers["model.layers.0.self_attn.q_proj"].scaling == scaling
    found = with_adapter(loaded, loaded.adapters["alpaca"])
    torch.testing.assert_close(found, by_peft(tmp_path / "alpaca"), rtol=0, atol=1e-4)


def rewrite(directory: Path, keys: dict[str, object]) -> None:
    path = directory / "adapter_config.json"
    checkpoints.write_json(path, {**json.loads(path.read_text()), **keys})


# What cannot be served


def refused(base: Path, adapter: Path) -> InferenceError:
    with pytest.raises(InferenceError) as caught:
        load(base, adapter)
    return caught.value


def test_an_adapter_of_a_wider_base_is_told_with_both_shapes(base: Path, tmp_path: Path) -> None:
    checkpoints.write_alpaca(tmp_path / "alpaca", width=128)
    error = refused(base, tmp_path / "alpaca")
    assert isinstance(error, WeightsMismatch)
    for words in ("adapter_model.bin", "another base", "128x128 (rank 16)", "64x64"):
        assert words in error.message


def test_an_adapter_of_more_layers(base: Path, tmp_path: Path) -> None:
    checkpoints.write_alpaca(tmp_path / "alpaca", "safetensors")
    path = tmp_path / "alpaca" / "adapter_model.safetensors"
    save_file({key.replace("layers.1", "layers.7"): tensor for key, tensor in load_file(path).items()}, path)
    error = refused(base, tmp_path / "alpaca")
    assert isinstance(error, WeightsMismatch)
    assert "no layer model.layers.7.self_attn" in error.message


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "only LORA"),
        ({"use_dora": True}, "use_dora = True"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"enable_lora": [True, False, True]}, "enable_lora"),
    ],
)
def test_an_adapter_that_is_no_plain_lora(keys: dict[str, object], words: str, base: Path, tmp_path: Path) -> None:
    checkpoints.write_alpaca(tmp_path / "alpaca")
    rewrite(tmp_path / "alpaca", keys)
    error = refused(base, tmp_path / "alpaca")
    assert isinstance(error, WeightsMismatch)
    assert "adapter_config.json" in error.message
    assert words in error.message


def test_a_configuration_that_cannot_be_meant(base: Path, tmp_path: Path) -> None:
    checkpoints.write_alpaca(tmp_path / "alpaca")
    rewrite(tmp_path / "alpaca", {"layers_to_transform": [1], "target_modules": "q_proj|(", "layers_pattern": "x"})
    error = refused(base, tmp_path / "alpaca")
    assert isinstance(error, WeightsCorrupt)
    assert "adapter_config.json cannot be meant" in error.message


def test_an_adapter_that_was_saved_empty(base: Path, tmp_path: Path) -> None:
    checkpoints.write_alpaca(tmp_path / "alpaca")
    torch.save({}, tmp_path / "alpaca" / "adapter_model.bin")
    error = refused(base, tmp_path / "alpaca")
    assert isinstance(error, WeightsCorrupt)
    assert "adapter_model.bin holds no tensors" in error.message


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_an_adapter_cut_short(kind: str, base: Path, tmp_path: Path) -> None:
    checkpoints.write_alpaca(tmp_path / "alpaca", kind)
    path = tmp_path / "alpaca" / f"adapter_model.{kind}"
    path.write_bytes(path.read_bytes()[:-1000])
    error = refused(base, tmp_path / "alpaca")
    assert isinstance(error, WeightsCorrupt)
    assert path.name in error.message


def test_half_an_update(base: Path, tmp_path: Path) -> None:
    tensors = checkpoints.write_alpaca(tmp_path / "alpaca")
    gone = "base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight"
    torch.save({k: t for k, t in tensors.items() if k != gone}, tmp_path / "alpaca" / "adapter_model.bin")
    error = refused(base, tmp_path / "alpaca")
    assert isinstance(error, WeightsCorrupt)
    assert "model.layers.1.self_attn.k_proj" in error.message


def test_something_else_among_the_tensors(base: Path, tmp_path: Path) -> None:
    tensors = checkpoints.write_alpaca(tmp_path / "alpaca")
    extra = {"base_model.model.lm_head.weight": torch.zeros(2)}
    torch.save(tensors | extra, tmp_path / "alpaca" / "adapter_model.bin")
    assert "lm_head.weight, which is no part of a plain LoRA" in refused(base, tmp_path / "alpaca").message


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.bin"])
def test_a_file_of_an_adapter_is_missing(name: str, base: Path, tmp_path: Path) -> None:
    checkpoints.write_alpaca(tmp_path / "alpaca")
    (tmp_path / "alpaca" / name).unlink()
    error = refused(base, tmp_path / "alpaca")
    assert isinstance(error, WeightsMissing)
    assert "alpaca" in error.message
