"""Bytes of weights: of what is loaded, as it is stored, and of what would be, before it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from app.inference.loaded import Adapter
from app.inference.types import Precision
from app.inference.weights.precisions import quantised_layers

_SCALE_BLOCK = 64  # weights to a scale in nf4
_NESTED_BLOCK = 256  # scales to a scale of scales, after the second quantisation
_NF4_CODES = (16 + 256 + 1) * 4  # bytes: the sixteen values, those of the scales, and their offset


def loaded(model: PreTrainedModel, adapters: Iterable[Adapter]) -> int:
    """The bytes that a model and its adapters take up, quantised ones with their scales. Shared storage counts once."""
    storages = {}
    for tensor in chain(_tensors(model), *map(_halves, adapters)):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def planned(model: PreTrainedModel, precision: Precision, dtype: torch.dtype) -> int:
    """The same for a model that is still on the meta device."""
    quantised = {id(layer.weight): layer for _, layer in quantised_layers(model, precision)}
    size = dtype.itemsize
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    kept = sum(weight.numel() * size for weight in model.parameters() if id(weight) not in quantised)
    return buffers + kept + sum(_layer(layer, precision) for layer in quantised.values())


def _layer(layer: nn.Linear, precision: Precision) -> int:
    weights = layer.in_features * layer.out_features
    if precision is Precision.INT8:
        return weights + layer.out_features * 4  # a scale per row
    scales = -(-weights // _SCALE_BLOCK)
    return weights // 2 + scales + -(-scales // _NESTED_BLOCK) * 4 + _NF4_CODES


def _tensors(model: PreTrainedModel) -> Iterator[torch.Tensor]:
    for tensor in chain(model.parameters(), model.buffers()):
        yield tensor.data
        yield from _scales(tensor)
    for module in model.modules():
        yield from _scales(getattr(module, "state", None))  # where int8 keeps them after the first product


def _scales(holder: Any) -> Iterator[torch.Tensor]:
    """What bitsandbytes keeps beside a quantised weight."""
    state = getattr(holder, "quant_state", None)
    nested = getattr(state, "state2", None)
    found = [getattr(holder, "SCB", None), getattr(state, "offset", None)]
    found += [getattr(one, name, None) for one in (state, nested) for name in ("absmax", "code")]
    return (tensor for tensor in found if isinstance(tensor, torch.Tensor))


def _halves(adapter: Adapter) -> Iterator[torch.Tensor]:
    return (half for layer in adapter.layers.values() for half in (layer.a, layer.b))
