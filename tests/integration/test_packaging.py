"""What a user installs: the pins, and the wheel."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_pins_resolve(version: str) -> None:
    command = [find_uv_bin(), "pip", "compile", "--quiet", "--python-version", version, "requirements.txt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "gradio==6" in done.stdout


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}
    assert {"gradio", "huggingface-hub", "gitpython", "uv", "libcst", "typer", "psutil", "filelock"} <= names
    assert all("==" in line for line in lines if line and not line.startswith((" ", "#")))


def test_only_the_runner_goes_into_the_wheel(tmp_path: Path) -> None:
    command = [find_uv_bin(), "build", "--wheel", "--quiet", "--out-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"spaces_runner"}
    assert "spaces_runner/data/compat.toml" in names
    assert {"spaces_runner/bootstrap/_spaces_runner.py", "spaces_runner/bootstrap/_spaces_runner_hub.py"} <= {*names}
