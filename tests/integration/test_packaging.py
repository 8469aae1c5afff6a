"""What a user installs: the pins, and the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
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
    assert "spaces_runner/bootstrap/_spaces_runner.py" in names


def test_the_scripts_hand_pips_index_settings_to_uv(tmp_path: Path) -> None:
    """A wheel folder that pip's environment names is where uv looks, too: `scripts/install` says so to uv."""
    script = (ROOT / "scripts" / "install").read_text().split("# The package index")[1].split('say "Installing')[0]
    environ = {"PATH": os.environ["PATH"], "PIP_FIND_LINKS": "/a /b", "PIP_EXTRA_INDEX_URL": "http://127.0.0.1:9/x"}
    shown = f"set -euo pipefail\n# {script}\n{sys.executable} -c 'import os; print(sorted(os.environ.items()))'"
    done = subprocess.run(["bash", "-c", shown], env=environ, capture_output=True, text=True, check=True, timeout=30)
    assert "('UV_FIND_LINKS', '/a,/b')" in done.stdout
    assert "('UV_INDEX', 'http://127.0.0.1:9/x')" in done.stdout
    assert "UV_DEFAULT_INDEX" not in done.stdout
