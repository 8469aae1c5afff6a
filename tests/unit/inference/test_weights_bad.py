"""Weights that are missing, damaged, or not what the catalogue takes them for: each a sentence with the file's name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from app.inference import weights
from app.inference.errors import ModelUnavailable, WeightsCorrupt, WeightsMismatch, WeightsMissing
from app.inference.types import Family, ModelCard, Precision, SamplingParams
from tests.support import inference_checkpoints as checkpoints

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def card(path: Path, family: Family = Family.LLAMA) -> ModelCard:
    return ModelCard(
        name="llava-1.5-7b",
        title="",
        family=family,
        weights=str(path),
        precision=Precision.FP32,
        prompt="alpaca",
        context=128,
        defaults=SamplingParams(),
    )


def refused(one: ModelCard) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        weights.load([one], CPU, lambda what, fraction: None)
    return caught.value


def reconfigure(path: Path, **keys: object) -> None:
    config = path / "config.json"
    checkpoints.write_json(config, {**json.loads(config.read_text()), **keys})


# Missing


def test_a_directory_that_is_not_there_says_how_to_point_at_another(tmp_path: Path) -> None:
    error = refused(card(tmp_path / "none"))
    assert isinstance(error, WeightsMissing)
    assert f"{tmp_path / 'none'}: there is no such directory" in error.message
    assert '[models."llava-1.5-7b"]' in error.hint
    assert 'weights = "/path/' in error.hint


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "pytorch_model.bin"])
def test_a_file_is_missing(name: str, tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "bin")
    (tmp_path / name).unlink()
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsMissing)
    assert name.removesuffix(".json") in error.sentence


@pytest.mark.parametrize("layout", ["bin-sharded", "safetensors-sharded"])
def test_a_shard_is_missing(layout: str, tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), layout)
    shard = next(path for path in tmp_path.iterdir() if "00002-of" in path.name)
    shard.unlink()
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsMissing)
    assert shard.name in error.message


def test_a_llava_without_its_preprocessor(tmp_path: Path) -> None:
    checkpoints.write_llava(tmp_path, checkpoints.llava(), "safetensors")
    (tmp_path / "preprocessor_config.json").unlink()
    assert "preprocessor_config.json" in refused(card(tmp_path, Family.LLAVA)).message


# Damaged


@pytest.mark.parametrize("layout", checkpoints.LAYOUTS)
def test_a_file_cut_short(layout: str, tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), layout)
    kind = layout.partition("-")[0]
    path = sorted(tmp_path.glob(f"*.{kind}"))[-1]
    path.write_bytes(path.read_bytes()[:-2000])
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    assert str(path) in error.message


@pytest.mark.parametrize("layout", ["bin", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"])
def test_a_file_that_is_something_else(content: bytes, layout: str, tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), layout)
    path = next(tmp_path.glob(f"*.{layout}"))
    path.write_bytes(content)
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    assert str(path) in error.message


def test_a_pickle_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(tmp_path / "ran"),))  # type: ignore[return-value]  # what a pickle may hold

    checkpoints.write_llama(tmp_path, checkpoints.llama(), "bin")
    torch.save({"model.norm.weight": Trap()}, tmp_path / "pytorch_model.bin")
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    assert "pytorch_model.bin" in error.message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_configuration_that_is_no_json_object(content: str, tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "bin")
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    assert "config.json" in error.message


def test_a_configuration_with_a_value_of_another_type(tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "bin")
    reconfigure(tmp_path, hidden_size="wide")
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    assert "config.json" in error.message
    assert "hidden_size" in error.message


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_a_tokenizer_that_is_none(name: str, tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "bin")
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / name).write_text("{}")
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    assert "tokenizer" in error.message


@pytest.mark.parametrize(
    "part",
    [
        {"model": "BPE"},
        {"model": {"type": "BPE", "vocab": [1, 2], "merges": []}},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["b", "c"]]}},
        {"decoder": {"type": "Unheard"}},
        {"added_tokens": [{"content": "<s>"}]},
    ],
    ids=["model", "vocabulary", "merges", "decoder", "added"],
)
def test_a_tokenizer_that_is_broken_inside(part: dict[str, Any], tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "bin")
    path = tmp_path / "tokenizer.json"
    checkpoints.write_json(path, json.loads(path.read_text()) | part)
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    assert f"The tokenizer in {tmp_path} cannot be read" in error.message


def test_an_index_that_promises_more_than_its_shards_hold(tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "safetensors-sharded")
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.extra.weight"] = "model-00001-of-00002.safetensors"
    checkpoints.write_json(path, index)
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    assert "model-00001-of-00002.safetensors does not hold model.extra.weight" in error.message


def test_an_index_cannot_point_out_of_its_directory(tmp_path: Path) -> None:
    inside = checkpoints.write_llama(tmp_path / "inside", checkpoints.llama(), "safetensors-sharded")
    path = inside / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    name = "model-00001-of-00002.safetensors"
    (inside / name).rename(tmp_path / name)
    index["weight_map"] = {key: f"../{shard}" for key, shard in index["weight_map"].items()}
    checkpoints.write_json(path, index)
    assert isinstance(refused(card(inside)), WeightsMissing)


# Not what the catalogue, or the configuration, takes them for


def test_weights_of_another_family(tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "bin")
    error = refused(card(tmp_path, Family.MPT))
    assert isinstance(error, WeightsMismatch)
    assert "'llama'" in error.message
    assert "'mpt'" in error.message


def test_tensors_of_another_shape(tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "safetensors-sharded")
    reconfigure(tmp_path, intermediate_size=192)
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    for words in ("-of-00002.safetensors", "mlp.", "64x128", "64x192"):
        assert words in error.message


def test_fewer_tensors_than_the_model_has(tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "bin")
    reconfigure(tmp_path, num_hidden_layers=3)
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    assert "lacks 9 of the model's tensors, among them model.layers.2." in error.message


def test_more_tensors_than_the_model_has(tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "bin")
    reconfigure(tmp_path, num_hidden_layers=1)
    error = refused(card(tmp_path))
    assert isinstance(error, WeightsCorrupt)
    assert "pytorch_model.bin holds 9 tensors" in error.message


@pytest.mark.parametrize(
    ("attention", "words"),
    [({"qk_ln": True}, "qk_ln"), ({"prefix_lm": True}, "prefix_lm"), ({"alibi": False}, "alibi")],
)
def test_an_mpt_that_the_class_would_get_wrong(attention: dict[str, Any], words: str, tmp_path: Path) -> None:
    checkpoints.write_neox_tokenizer(checkpoints.write_mpt(tmp_path, checkpoints.mpt(), **attention))
    assert f"attn_config.{words}" in refused(card(tmp_path, Family.MPT)).message


def test_a_layer_that_nf4_cannot_take(tmp_path: Path) -> None:
    checkpoints.write_llama(tmp_path, checkpoints.llama(), "bin")
    reconfigure(tmp_path, intermediate_size=96)
    error = refused(dataclasses.replace(card(tmp_path), precision=Precision.NF4))
    assert isinstance(error, WeightsMismatch)
    for words in ("model.layers.0.mlp.down_proj", "96 inputs", "multiples of 64"):
        assert words in error.message
    assert 'precision = "int8"' in error.hint
