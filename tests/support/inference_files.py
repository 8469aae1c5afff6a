"""Files of tensors, and of what is said of them, written by hand: JSON as text, safetensors byte by byte."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Tensors = Mapping[str, torch.Tensor]

LAYOUTS = ("bin", "bin-sharded", "safetensors", "safetensors-sharded")


def write_tensors(directory: Path, tensors: Tensors, layout: str, stem: str = "") -> None:
    """`tensors` in one file, or in two shards under an index, named as the originals are."""
    kind, _, sharded = layout.partition("-")
    name = {"bin": "pytorch_model", "safetensors": "model"}[kind]
    write: Callable[[Tensors, Path], None] = write_safetensors if kind == "safetensors" else torch.save
    if not sharded:
        write(dict(tensors), directory / f"{stem or name}.{kind}")
        return
    keys = sorted(tensors)
    shards = {f"{name}-0000{n}-of-00002.{kind}": keys[n - 1 :: 2] for n in (1, 2)}
    for shard, names in shards.items():
        write({key: tensors[key] for key in names}, directory / shard)
    weight_map = {key: shard for shard, names in shards.items() for key in names}
    write_json(directory / f"{name}.{kind}.index.json", {"metadata": {"total_size": 0}, "weight_map": weight_map})


def write_safetensors(tensors: Tensors, path: Path) -> None:
    """By the format's description: the header's length, the header, the bytes."""
    kinds = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, tensor in tensors.items():
        content = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        place = [len(body), len(body) + len(content)]
        header[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        body += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2))
