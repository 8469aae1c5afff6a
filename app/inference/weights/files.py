"""The files that hold a model's tensors: which they are, and whether each is whole. Reads headers only.

Formats: safetensors, and PyTorch's pickled archives read with `weights_only`, each in one file or in shards under an
index.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from app.inference.errors import WeightsCorrupt, WeightsMissing

_SINGLE: Final = ("model.safetensors", "pytorch_model.bin")
_INDEX: Final = "{}.index.json"


def check(directory: Path) -> dict[str, Path]:
    """Every tensor's name and the file it is in.

    Raises WeightsMissing where there are no tensors or a shard is absent, and WeightsCorrupt, with the file's name, for
    one that is short, damaged, or does not hold what the index says.
    """
    for name in _SINGLE:
        if (directory / name).is_file():
            return dict.fromkeys(names(directory / name), directory / name)
        if (directory / _INDEX.format(name)).is_file():
            return _sharded(directory, _INDEX.format(name))
    raise WeightsMissing(
        f"{directory} has no weights that can be read.",
        hint="Looked for: model.safetensors, pytorch_model.bin, and the index of either in shards.",
    )


def names(path: Path) -> list[str]:
    """The names of the tensors in one file. Raises WeightsCorrupt."""
    read = _safetensors_names if path.suffix == ".safetensors" else _pickled_names
    try:
        return read(path)
    except (SafetensorError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsCorrupt(
            f"{path} cannot be read: it is damaged, or not all of it is there.",
            hint="Delete it and fetch it again.",
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """An object of a JSON file. Raises WeightsMissing, WeightsCorrupt."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsMissing(f"{path.parent} has no {path.name}.", hint="Is it the directory of a model?") from None
    except (OSError, ValueError) as error:
        raise WeightsCorrupt(f"{path} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise WeightsCorrupt(f"{path} is not a JSON object.")
    return content


def _sharded(directory: Path, index: str) -> dict[str, Path]:
    weight_map = read_json(directory / index).get("weight_map")
    if not isinstance(weight_map, Mapping) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise WeightsCorrupt(f"{directory / index} has no weight_map.")
    held: dict[str, Path] = {}
    for shard in sorted(set(weight_map.values())):
        path = directory / Path(shard).name  # an index cannot point out of its directory
        if not path.is_file():
            raise WeightsMissing(f"{path} is missing; {index} names it.", hint="Fetch it from where the others are.")
        held |= dict.fromkeys(names(path), path)
    for name, shard in weight_map.items():
        if name not in held:
            raise WeightsCorrupt(f"{directory / shard} does not hold {name}, which {index} says is there.")
    return held


def _safetensors_names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:  # checks that the header and the file's size agree
        return list(file.keys())


def _pickled_names(path: Path) -> list[str]:
    content = torch.load(path, map_location="meta", weights_only=True)
    if not isinstance(content, dict):
        raise pickle.UnpicklingError("not a dictionary of tensors")
    return [str(name) for name in content]
