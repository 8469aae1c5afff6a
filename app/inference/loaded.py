"""What a loader hands to an engine: a model on its device, with its tokenizer and adapters. Does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.inference.types import Family, Precision

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraLayer:
    """The low-rank update of one linear layer: y += scaling * (x @ a.T) @ b.T."""

    a: torch.Tensor  # [rank, in]
    b: torch.Tensor  # [out, rank]
    scaling: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """`layers` by the module's path in the base model, e.g. "model.layers.0.self_attn.q_proj"."""

    name: str
    layers: Mapping[str, LoraLayer] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """`model` is in eval mode, on `device`, its linear layers quantised as `precision` says.

    `processor` turns a picture into pixel values; only LLaVA has one. `nbytes`: of weights and adapters on the device.
    """

    family: Family
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    processor: Any | None = None
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    precision: Precision
    dtype: torch.dtype  # of activations and of the KV cache
    device: torch.device
    context: int  # tokens
    eos_ids: frozenset[int]
    nbytes: int
