"""config.json as its authors wrote it -> the configuration of transformers' own class. No code of a repository runs.

What stands between the original files and the classes of today is put right here, each with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from huggingface_hub.errors import StrictDataclassError
from transformers import LlamaConfig, LlavaConfig, MptConfig, PretrainedConfig, PreTrainedTokenizerBase

from app.inference.errors import WeightsCorrupt, WeightsMismatch
from app.inference.types import Family, ModelCard
from app.inference.weights.files import read_json

# Of the original MPT configuration: what code of its own read, and the class of transformers has no use for.
_NOT_OURS: Final = ("auto_map", "architectures", "transformers_version", "_name_or_path", "quantization_config")
# What llm-foundry can build and the class of transformers cannot: it would compute something else without a word.
_MPT_UNSUPPORTED: Final[Mapping[str, object]] = {
    "attn_type": "multihead_attention",
    "prefix_lm": False,
    "qk_ln": False,
    "alibi": True,
}


def read(directory: Path, card: ModelCard, context: int) -> PretrainedConfig:
    """The configuration of the model in `directory`, for sequences of up to `context` tokens.

    Raises WeightsMissing, WeightsCorrupt, and WeightsMismatch for a model of another family than the card's.
    """
    path = directory / "config.json"
    said = read_json(path)
    if (kind := said.get("model_type")) != card.family.value:
        raise WeightsMismatch(
            f"{path} is of a model of type {kind!r}; {card.name} is of the family {card.family.value!r}.",
            hint="Correct family or weights in the file of models.",
        )
    try:
        return _READERS[card.family]({key: value for key, value in said.items() if key not in _NOT_OURS}, context)
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise WeightsCorrupt(f"{path} cannot be meant: {error}") from error


def special(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Writes the ids of the tokenizer's special tokens into the configuration, whatever stood there."""
    for key in _SPECIAL:
        setattr(config, key, getattr(tokenizer, key))


def _llama(said: dict[str, Any], context: int) -> PretrainedConfig:
    """Early conversions wrote pad_token_id -1, bos 0 and eos 1. Which they are the tokenizer knows: see `special`."""
    return LlamaConfig.from_dict({**said, **dict.fromkeys(_SPECIAL), "use_cache": True})


def _mpt(said: dict[str, Any], context: int) -> PretrainedConfig:
    """The class takes clip_qkv as a float and attn_pdrop as an int only, and was written for max_seq_len at most."""
    attention = dict(said.get("attn_config") or {})
    for key, supported in _MPT_UNSUPPORTED.items():
        if attention.get(key, supported) != supported:
            raise ValueError(f"attn_config.{key} = {attention[key]!r} is not supported, only {supported!r} is.")
    for key, kind in _MPT_NUMBERS.items():
        if attention.get(key) is not None:
            attention[key] = kind(attention[key])
    longest = max(context, int(said.get("max_seq_len", 0)))
    return MptConfig.from_dict({**said, "attn_config": attention, "max_seq_len": longest, "use_cache": True})


_MPT_NUMBERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "clip_qkv": float,
    "softmax_scale": float,
    "attn_pdrop": int,
    "alibi_bias_max": int,
}


def _llava(said: dict[str, Any], context: int) -> PretrainedConfig:
    return LlavaConfig.from_dict(said)


_SPECIAL: Final = ("bos_token_id", "eos_token_id", "pad_token_id")
_READERS: Final[Mapping[Family, Callable[[dict[str, Any], int], PretrainedConfig]]] = {
    Family.LLAMA: _llama,
    Family.MPT: _mpt,
    Family.LLAVA: _llava,
}
