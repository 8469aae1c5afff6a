"""What weights are held in: the linear layers as the precision says, what is sensitive beside them unquantised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from app.inference.errors import WeightsMismatch
from app.inference.types import Precision

# Embeddings are no linear layers. The head shares their weights or decides between words by small differences; tower
# and projector are small, and what they lose no later layer can make up for.
UNQUANTISED: Final = ("lm_head", "model.vision_tower", "model.multi_modal_projector")

_BLOCK: Final = 64  # weights that share a scale in nf4: a row holds whole blocks only
_PACKED_ROWS: Final = 32  # rows that bitsandbytes packs together on CPUs with AVX-512

_DTYPES: Final = {
    Precision.FP32: torch.float32,
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
}


def dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Of activations, of the KV cache, and of every weight that is not quantised."""
    if not precision.quantised:
        return _DTYPES[precision]
    if device.type != "cuda":
        return torch.float32  # few CPUs compute faster in half precision, and none more exactly
    if precision is Precision.INT8 or not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16  # what the int8 kernels compute in, and what GPUs before Ampere have
    return torch.bfloat16


def quantisation(precision: Precision, compute: torch.dtype) -> BitsAndBytesConfig | None:
    """How transformers is to quantise while it loads; None for not at all."""
    if precision is Precision.INT8:
        return _bitsandbytes(load_in_8bit=True)
    if precision is Precision.NF4:
        return _bitsandbytes(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute,
        )
    return None


def _bitsandbytes(**options: Any) -> BitsAndBytesConfig:
    make: Callable[..., BitsAndBytesConfig] = BitsAndBytesConfig  # its constructor is not annotated
    return make(llm_int8_skip_modules=list(UNQUANTISED), **options)


def quantised_layers(model: PreTrainedModel, precision: Precision) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers of a model, not yet quantised, that `precision` quantises, by their paths."""
    if not precision.quantised:
        return
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) and not path.startswith(UNQUANTISED):
            yield path, module


def check_shapes(model: PreTrainedModel, precision: Precision) -> None:
    """Raises WeightsMismatch where nf4 cannot take a layer, before any weight is read. `model` may be on meta."""
    if precision is not Precision.NF4:
        return
    for path, layer in quantised_layers(model, precision):
        if layer.in_features % _BLOCK or layer.out_features % _PACKED_ROWS:
            raise WeightsMismatch(
                f"nf4 cannot take the layer {path}: it has {layer.in_features} inputs and {layer.out_features} outputs,"
                f" which must be multiples of {_BLOCK} and {_PACKED_ROWS}.",
                hint='Choose precision = "int8" or "bf16" for this model.',
            )
