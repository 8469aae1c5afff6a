"""The script that makes the demo checkpoints runs from its start to its end: a trial of two steps each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.sides import NAMES

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "app" / "inference" / "demo"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "training", "--steps", "2", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.mark.parametrize("name", NAMES)
def test_each_checkpoint_is_of_the_form_of_the_published_one(made: Path, name: str) -> None:
    assert _tensors(made / name) == _tensors(DEMO / name)
    assert _files(made / name) == _files(DEMO / name)


def test_adapters_name_the_published_base(made: Path) -> None:
    for name in ("alpaca-lora-7b", "guanaco-7b"):
        ours, published = (json.loads((at / name / "adapter_config.json").read_bytes()) for at in (made, DEMO))
        assert ours["base_model_name_or_path"] == published["base_model_name_or_path"]


def test_a_number_of_steps_that_is_none_is_refused() -> None:
    command = [sys.executable, "-m", "training", "--steps", "0"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "at least 1" in done.stderr


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _tensors(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    (weights,) = folder.glob("*.safetensors")
    return {name: (each.shape, each.dtype) for name, each in load_file(weights).items()}
