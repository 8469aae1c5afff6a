"""The reference for adapters: PEFT with one adapter alone."""

from __future__ import annotations

from typing import Any

from peft import LoraConfig, get_peft_model

from app.inference.loaded import Adapter

# peft 0.21 asks transformers 5.24 by an old name
PEFT_WARNS = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"


def by_peft(model: Any, adapter: Adapter) -> Any:
    """The model under PEFT with this adapter. Layers of the same names that it leaves alone have an update of zero."""
    names = sorted({path.rpartition(".")[2] for path in adapter.layers})
    layer = next(iter(adapter.layers.values()))
    rank = layer.a.shape[0]
    alpha: Any = layer.scaling * rank  # need not be whole, though PEFT says int
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=names)
    wrapped: Any = get_peft_model(model, config, autocast_adapter_dtype=False).eval()
    for path, layer in adapter.layers.items():
        module: Any = wrapped.base_model.model.get_submodule(path)
        module.lora_A["default"].weight.data.copy_(layer.a)
        module.lora_B["default"].weight.data.copy_(layer.b)
    return wrapped
