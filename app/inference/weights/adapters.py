"""LoRA adapters as peft stores them -> the low-rank updates of a base's layers, by the layers' paths."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import nn
from transformers import PreTrainedModel

from app.inference.errors import WeightsCorrupt, WeightsMismatch, WeightsMissing
from app.inference.loaded import Adapter, LoraLayer
from app.inference.weights import files

if TYPE_CHECKING:  # its import brings bitsandbytes and takes seconds
    from peft import LoraConfig

_FILES: Final = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX: Final = "base_model.model."
_KEY: Final = re.compile(r"(?P<path>.+)\.lora_(?P<half>[AB])(\.default)?\.weight")


def load(name: str, directory: Path, model: PreTrainedModel, device: torch.device, dtype: torch.dtype) -> Adapter:
    """The adapter in `directory` over `model`, in `dtype` on `device`.

    Raises WeightsMissing, WeightsCorrupt with the file's name, and WeightsMismatch where it is no plain LoRA or not
    over this base.
    """
    config = _config(directory)
    path, tensors = _tensors(directory)
    layers = {}
    for module, (a, b) in _pairs(path, tensors):
        _check(path, module, a, b, model)
        layers[module] = LoraLayer(a=a.to(device, dtype), b=b.to(device, dtype), scaling=_scaling(config, module, a))
    return Adapter(name=name, layers=layers)


def _config(directory: Path) -> LoraConfig:
    """What adapter_config.json says. alpaca-lora's has keys of an early peft (enable_lora, merge_weights), unset."""
    from peft import LoraConfig

    path = directory / "adapter_config.json"
    said = files.read_json(path)
    if (kind := said.get("peft_type")) != "LORA":
        raise WeightsMismatch(f"{path} is of an adapter of type {kind!r}; only LORA is served.")
    known = {field.name for field in dataclasses.fields(LoraConfig)}
    plain = {"use_dora": False, "bias": "none", "modules_to_save": None}
    for key, value in said.items():
        if value and value != plain.get(key) and (key in plain or key not in known):
            raise WeightsMismatch(f"{path} says {key} = {value!r}; only plain LoRA is served.")
    try:
        return LoraConfig(**{key: value for key, value in said.items() if key in known})
    except (TypeError, ValueError) as error:
        raise WeightsCorrupt(f"{path} cannot be meant: {error}.") from error


def _tensors(directory: Path) -> tuple[Path, Mapping[str, torch.Tensor]]:
    from peft.utils.save_and_load import load_peft_weights

    path = next((directory / name for name in _FILES if (directory / name).is_file()), None)
    if path is None:
        raise WeightsMissing(f"{directory} has no adapter.", hint=f"Looked for: {', '.join(_FILES)}.")
    files.names(path)  # says which file is damaged
    return path, load_peft_weights(str(directory), device="cpu")


def _pairs(path: Path, tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, tuple[torch.Tensor, torch.Tensor]]]:
    """The two halves of each layer's update, by the layer's path in the base."""
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key.removeprefix(_PREFIX))
        if match is None:
            raise WeightsMismatch(f"{path} holds {key}, which is no part of a plain LoRA.")
        halves.setdefault(match["path"], {})[match["half"]] = tensor
    if not halves:  # some early copies of alpaca-lora were saved so
        raise WeightsCorrupt(f"{path} holds no tensors at all.", hint="Fetch the adapter again, or another copy of it.")
    for module, pair in halves.items():
        if set(pair) != {"A", "B"}:
            raise WeightsCorrupt(f"{path} holds only one half of the update of {module}.")
        yield module, (pair["A"], pair["B"])


def _check(path: Path, module: str, a: torch.Tensor, b: torch.Tensor, model: PreTrainedModel) -> None:
    """Raises WeightsMismatch unless the base has such a layer and the update is of its shape."""
    try:
        layer = model.get_submodule(module)
    except AttributeError:
        raise WeightsMismatch(f"{path} is over another base: this one has no layer {module}.") from None
    if not isinstance(layer, nn.Linear):
        raise WeightsMismatch(f"{path} changes {module}, which is a {type(layer).__name__} and not a linear layer.")
    if (a.shape[1], b.shape[0], a.shape[0]) != (layer.in_features, layer.out_features, b.shape[1]):
        raise WeightsMismatch(
            f"{path} is over another base: its update of {module} is of {b.shape[0]}x{a.shape[1]} (rank {a.shape[0]}), "
            f"the layer of {layer.out_features}x{layer.in_features}."
        )


def _scaling(config: LoraConfig, module: str, a: torch.Tensor) -> float:
    """alpha / rank, or alpha / sqrt(rank) for a rank-stabilised one (peft's `LoraLayer.update_layer`)."""
    pattern = config.alpha_pattern or {}
    alpha = next((value for key, value in pattern.items() if re.fullmatch(rf"(.*\.)?{key}", module)), config.lora_alpha)
    rank = a.shape[0]
    return float(alpha / (math.sqrt(rank) if config.use_rslora else rank))


def planned(config: Mapping[str, object], model: PreTrainedModel) -> int:
    """How many numbers an adapter with this adapter_config.json has over `model`, which may be on meta."""
    rank, targets = config.get("r"), config.get("target_modules")
    if not isinstance(rank, int) or not isinstance(targets, list):
        return 0  # a pattern, or nonsense; `load` says which
    ends = tuple(f".{target}" for target in targets)
    layers = (layer for path, layer in model.named_modules() if path.endswith(ends) and isinstance(layer, nn.Linear))
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)
