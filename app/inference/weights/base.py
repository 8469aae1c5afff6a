"""The model itself: transformers' own class, filled from the checked files, quantised on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
    MptForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)

from app.inference.errors import NoRoom, WeightsCorrupt
from app.inference.types import Family, Precision
from app.inference.weights import files, precisions, quiet
from app.inference.weights.progress import Report

_CLASSES: Final[Mapping[Family, type[PreTrainedModel]]] = {
    Family.LLAMA: LlamaForCausalLM,
    Family.MPT: MptForCausalLM,
    Family.LLAVA: LlavaForConditionalGeneration,
}
# Not weights: what the first LLaMA and CLIP checkpoints stored of what is computed anyway.
_COMPUTED: Final = ("rotary_emb.inv_freq", "embeddings.position_ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a model is to become."""

    family: Family
    config: PretrainedConfig
    precision: Precision
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        return precisions.dtype(self.precision, self.device)


def outline(wanted: Wanted) -> PreTrainedModel:
    """The model without its weights, on the meta device. Raises WeightsMismatch where nf4 cannot take it."""
    with torch.device("meta"):
        model = _CLASSES[wanted.family](wanted.config)
    precisions.check_shapes(model, wanted.precision)
    return model


def load(directory: Path, wanted: Wanted, report: Report) -> PreTrainedModel:
    """The model in eval mode on its device.

    Raises WeightsMissing and WeightsCorrupt with the file's name, WeightsMismatch, and NoRoom where the device is full.
    """
    outline(wanted)
    held = files.check(directory)
    try:
        model, info = _read(directory, wanted, report)
    except torch.OutOfMemoryError as error:
        raise NoRoom(f"The weights in {directory} do not fit on {wanted.device}.") from error
    _check(directory, held, info)
    model.train(False)
    model.requires_grad_(False)
    return model


def _read(directory: Path, wanted: Wanted, report: Report) -> tuple[PreTrainedModel, dict[str, Any]]:
    read: Callable[..., Any] = _CLASSES[wanted.family].from_pretrained  # its type is of a call without loading info
    with quiet.loading(lambda fraction: report("Reading the weights", fraction)):
        model, info = read(
            directory,
            config=wanted.config,
            dtype=wanted.dtype,
            device_map={"": wanted.device},
            quantization_config=precisions.quantisation(wanted.precision, wanted.dtype),
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are told below, with the file's name
            output_loading_info=True,
        )
    return model, info


def _check(directory: Path, held: Mapping[str, Path], info: Mapping[str, Any]) -> None:
    """Raises WeightsCorrupt unless every tensor found its place and every place its tensor."""
    for name, there, wanted in sorted(info["mismatched_keys"]):
        raise WeightsCorrupt(
            f"{_file_of(name, held)} holds {name} of the shape {_shape(there)}; config.json says {_shape(wanted)}."
        )
    if missing := sorted(info["missing_keys"]):
        raise WeightsCorrupt(f"{directory} lacks {len(missing)} of the model's tensors, among them {missing[0]}.")
    unknown = sorted(name for name in info["unexpected_keys"] if not name.endswith(_COMPUTED))
    if unknown:
        raise WeightsCorrupt(
            f"{_file_of(unknown[0], held)} holds {len(unknown)} tensors that the model of config.json has no place for,"
            f" among them {unknown[0]}."
        )


def _file_of(name: str, held: Mapping[str, Path]) -> Path:
    """The file of a tensor by the name it has in the model: in the file its first parts may be others."""
    parts = name.split(".")

    def shared(other: str) -> int:
        theirs = other.split(".")
        return next((n for n in range(len(parts), 0, -1) if parts[-n:] == theirs[-n:]), 0)

    return held[max(held, key=shared)]


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
