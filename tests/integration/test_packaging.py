"""What a user installs: the pins, the wheel and the source archive, each into an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from uv import find_uv_bin

import spaces_runner
from spaces_runner.settings import read_settings

ROOT = Path(__file__).parents[2]
IMPORT_BAR_S = 0.15
HEAVY = {"torch", "transformers", "gradio", "fastapi", "uvicorn", "numpy"}


def done(*command: str, environ: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    ended = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=180)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An environment of a user's, with what it was asked for and nothing of ours."""

    folder: Path

    def python(self, *arguments: str) -> str:
        """Somewhere else than in the checkout, and without the tests' variables."""
        return done(str(self.folder / "bin/python"), "-I", *arguments, environ={"PATH": os.defpath}, cwd=self.folder)

    def names(self) -> set[str]:
        """Of the packages that are there."""
        code = "import importlib.metadata as m, json; print(json.dumps([d.name.lower() for d in m.distributions()]))"
        return {name.replace("_", "-") for name in json.loads(self.python("-c", code))}


def installed(folder: Path, asked: str) -> Installed:
    uv = find_uv_bin()
    done(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
    links = [word for link in read_settings().find_links for word in ("--find-links", link)]
    pins = ("--constraints", str(ROOT / "requirements.txt"))
    done(uv, "pip", "install", "--quiet", "--python", str(folder), *pins, *links, asked)
    return Installed(folder=folder)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel that was built from that."""
    folder = tmp_path_factory.mktemp("dist")
    done(find_uv_bin(), "build", "--quiet", "--out-dir", str(folder), str(ROOT))
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_pins_resolve(version: str) -> None:
    told = done(find_uv_bin(), "pip", "compile", "--quiet", "--python-version", version, "requirements.txt", cwd=ROOT)
    assert "gradio==6" in told


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}
    assert {"gradio", "huggingface-hub", "gitpython", "uv", "libcst", "typer", "psutil", "filelock"} <= names
    assert all("==" in line for line in lines if line and not line.startswith((" ", "#")))


def test_only_the_runner_goes_into_the_wheel(wheel: Path) -> None:
    """A package by the name of `app` would be in the way of every Space's app.py."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"spaces_runner"}
    assert "spaces_runner/data/compat.toml" in names
    assert {"spaces_runner/bootstrap/_spaces_runner.py", "spaces_runner/bootstrap/_spaces_runner_hub.py"} <= {*names}


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        told = archive.read(f"{info}/METADATA").decode()
    assert f"\nVersion: {project['version']}\n" in told
    assert "\nLicense-Expression: Apache-2.0\n" in told
    assert {line.partition(": ")[2] for line in told.splitlines() if line.startswith("Provides-Extra")} == {
        "web",
        "core",
    }
    assert f"\n## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()
    assert project["version"] == spaces_runner.__version__


def test_the_source_archive_holds_the_page_and_its_pins(built: Path) -> None:
    """From it the whole can be run, as from a checkout."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"app/__main__.py", "app/inference/models.toml", "scripts/run", "requirements.txt", "Dockerfile"} <= names
    assert {"LICENSE", "CHANGELOG.md", "examples/hello-interface/app.py", "tests/unit/test_ref.py"} <= names


@pytest.fixture(scope="module")
def runner(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """`pip install spaces-runner`, without an extra."""
    return installed(tmp_path_factory.mktemp("runner") / "venv", str(wheel))


@pytest.mark.network_index
def test_the_runner_alone_is_light_and_has_its_command(runner: Installed, tmp_path: Path) -> None:
    assert not runner.names() & HEAVY
    command = str(runner.folder / "bin/spaces-runner")
    assert done(command, "--version", environ={}).split()[-1] == spaces_runner.__version__
    environ = {"SPACES_RUNNER_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    assert json.loads(done(command, "ps", "--json", environ=environ)) == []


@pytest.mark.network_index
def test_the_import_is_quick_and_brings_nothing_else(runner: Installed) -> None:
    """The best of five: a busy machine is no fault of ours."""
    code = "import time; begun = time.perf_counter(); import spaces_runner; print(time.perf_counter() - begun)"
    assert min(float(runner.python("-c", code)) for _ in range(5)) < IMPORT_BAR_S
    code = "import sys, spaces_runner; print(*{name.partition('.')[0] for name in sys.modules})"
    assert {*runner.python("-c", code).split()} - sys.stdlib_module_names <= {"__main__", "spaces_runner"}


@pytest.mark.network_index
def test_the_page_needs_nothing_but_its_extra(wheel: Path, tmp_path: Path) -> None:
    user = installed(tmp_path / "venv", f"spaces-runner[web] @ file://{wheel}")
    code = f"import sys; sys.path.append({str(ROOT)!r}); import app.server, app.share; print('served')"
    assert user.python("-c", code) == "served\n"
    assert not user.names() & {"torch", "transformers", "bitsandbytes"}
