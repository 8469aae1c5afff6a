"""A model's tokenizer, exactly as its files have it, its special tokens set; and LLaVA's processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tokenizers import processors
from transformers import (
    CLIPImageProcessorPil,
    GenerationConfig,
    LlavaProcessor,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from app.inference.errors import InferenceError, WeightsCorrupt, WeightsMissing
from app.inference.types import Family
from app.inference.weights import pieces
from app.inference.weights.files import read_json

# The LLaMA vocabulary has these at 0, 1 and 2; early copies named them "" or not at all. Another's are its own affair.
_LLAMA_SPECIALS: Final = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}
_from_files: Final[Callable[..., PreTrainedTokenizerBase]] = PreTrainedTokenizerFast.from_pretrained
_from_backend: Final[Callable[..., PreTrainedTokenizerBase]] = PreTrainedTokenizerFast
_TURN_END: Final = "<|im_end|>"  # of MPT-Chat, which ends an answer with it or with <|endoftext|>


def load(directory: Path, family: Family) -> PreTrainedTokenizerBase:
    """Raises WeightsMissing, WeightsCorrupt."""
    read = _mpt if family is Family.MPT else _llama
    if not any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise WeightsMissing(f"{directory} has no tokenizer.", hint="Looked for: tokenizer.json, tokenizer.model.")
    _check(directory / "tokenizer.json")
    try:
        tokenizer = read(directory)
    except InferenceError:
        raise
    except Exception as error:  # tokenizers has no type of its own: what it cannot read is a bare Exception
        raise WeightsCorrupt(f"The tokenizer in {directory} cannot be read: {error}.") from error
    tokenizer.clean_up_tokenization_spaces = False  # what is streamed token by token cannot be tidied afterwards
    return tokenizer


def _check(path: Path) -> None:
    """Raises WeightsCorrupt for a tokenizer.json that is none."""
    if path.is_file() and not {"model", "added_tokens"} <= set(read_json(path)):
        raise WeightsCorrupt(f"{path} is no tokenizer: it lacks its model or its added tokens.")


def end_ids(tokenizer: PreTrainedTokenizerBase, family: Family, directory: Path) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's, those of generation_config.json, and the end of a chat's turn.

    Early conversions of LLaMA wrote the number of the token that begins a text there; that one ends nothing.
    """
    ids = set(_generation_ids(directory)) - {tokenizer.bos_token_id} | {tokenizer.eos_token_id}
    if family is Family.MPT and _TURN_END in tokenizer.get_vocab():
        ids.add(tokenizer.convert_tokens_to_ids(_TURN_END))
    return frozenset(one for one in ids if isinstance(one, int))


def processor(directory: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> LlavaProcessor:
    """What turns pictures into pixel values and knows how many image tokens each takes.

    The configuration says what the processor's files of 2023 do not: patches, and that CLIP's class token is left out.
    Raises WeightsCorrupt.
    """
    try:
        images = CLIPImageProcessorPil.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise WeightsCorrupt(f"{directory} has no preprocessor_config.json that can be read: {error}.") from error
    make: Callable[..., LlavaProcessor] = LlavaProcessor  # its constructor is not annotated
    return make(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
    )


def _llama(directory: Path) -> PreTrainedTokenizerBase:
    """By tokenizer.json as it stands; a directory with the sentencepiece model alone is converted."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        tokenizer = _from_backend(tokenizer_object=pieces.read(directory / "tokenizer.model"), **_LLAMA_SPECIALS)
        return _beginning(tokenizer)
    content = read_json(path)
    known = content["model"].get("vocab", {})
    specials = _LLAMA_SPECIALS if set(_LLAMA_SPECIALS.values()) <= set(known) else {}
    tokenizer = _from_files(directory, local_files_only=True, **specials)
    if content.get("post_processor") is None:
        return _beginning(tokenizer)
    if tokenizer("x").input_ids[:1] != [tokenizer.bos_token_id]:
        tokenizer.bos_token = None  # the file begins no text with it, so nobody else is to
    return tokenizer


def _beginning(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer that begins every text with its bos token, as LLaMA was trained."""
    if start := tokenizer.bos_token:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", pair=f"{start} $A $B", special_tokens=[(start, tokenizer.bos_token_id)]
        )
    return tokenizer


def _mpt(directory: Path) -> PreTrainedTokenizerBase:
    tokenizer = _from_files(directory, local_files_only=True)
    if tokenizer.eos_token is None:
        tokenizer.eos_token = "<|endoftext|>"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _generation_ids(directory: Path) -> list[int]:
    if not (directory / "generation_config.json").is_file():
        return []
    try:
        ids = GenerationConfig.from_pretrained(directory, local_files_only=True).eos_token_id
    except (OSError, ValueError, TypeError) as error:
        raise WeightsCorrupt(f"{directory / 'generation_config.json'} cannot be read: {error}.") from error
    return ids if isinstance(ids, list) else [] if ids is None else [ids]
