"""What differs between architectures, behind one interface: see `base.FlatModel`. A new family is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.inference.families.base import FlatModel, KvShape
from app.inference.families.llama import Llama
from app.inference.families.llama import kv_shape as llama_kv_shape
from app.inference.families.llava import Llava
from app.inference.families.mpt import Mpt
from app.inference.families.mpt import kv_shape as mpt_kv_shape
from app.inference.loaded import LoadedModel
from app.inference.types import Family

__all__ = ["FlatModel", "KvShape", "flat_model", "kv_shape"]

_FAMILIES: Mapping[Family, Callable[[Any], FlatModel]] = {
    Family.LLAMA: Llama,
    Family.MPT: Mpt,
    Family.LLAVA: Llava,
}


def flat_model(loaded: LoadedModel) -> FlatModel:
    """Fit a loaded model to run flat batches. Its own `generate` works no longer."""
    return _FAMILIES[loaded.family](loaded.model)


def kv_shape(loaded: LoadedModel) -> KvShape:
    """What a token of this model takes in the arena. Leaves the model as it is."""
    config: Any = loaded.model.config
    if loaded.family is Family.MPT:
        return mpt_kv_shape(config)
    return llama_kv_shape(config.text_config if loaded.family is Family.LLAVA else config)
