"""A Space's own layer in front of its environment."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner import overlay
from spaces_runner.environment import uv
from spaces_runner.settings import Settings
from spaces_runner.types import Environment
from tests.support.home import open_directory
from tests.support.spaces_env import ROOT, SPACE_USER, TinySpace, run_as_space, wheel

pytestmark = pytest.mark.network_index


@pytest.fixture(scope="module")
def space(shared_settings: Settings) -> TinySpace:
    return TinySpace(settings=shared_settings, name="overlay", requirements="requests\n")


@pytest.fixture(scope="module")
def built(space: TinySpace) -> Environment:
    return space.build()


@pytest.fixture(scope="module")
def shelf() -> Path:
    """A folder of wheels: one that the environment has too, and one with a console script."""
    folder = open_directory("sr-wheels-")
    newer = wheel("requests", "99.0", "HERE = 'overlay'\n")
    tool = wheel("own_tool", "1.0", "import requests, sys\ndef main():\n    print(sys.prefix)\n", script="own-tool")
    (folder / "requests-99.0-py3-none-any.whl").write_bytes(newer)
    (folder / "own_tool-1.0-py3-none-any.whl").write_bytes(tool)
    return folder


@pytest.fixture
def python(space: TinySpace, built: Environment) -> Path:
    """A fresh overlay's."""
    space.settings.space(space.name).venv.with_name("venv.fingerprint").unlink(missing_ok=True)
    return space.python_of(built)


def output(command: list[str], python: Path, **variables: str) -> str:
    answer = run_as_space(command, python, **variables)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout.strip()


def test_the_environments_packages_are_behind_it(python: Path, built: Environment) -> None:
    code = "import gradio, sys; print(gradio.__file__, sys.prefix, '_spaces_runner' in sys.modules)"
    file, prefix, started = output([str(python), "-c", code], python).split()
    assert file.startswith(built.prefix)
    assert (prefix, started) == (str(python.parents[1]), "True")


INSTALLERS = {
    "module": ["python", "-m", "pip", "install"],
    "script": ["pip", "install"],
    "child": ["python", "-c", "import subprocess, sys; sys.exit(subprocess.call(['pip', 'install', *sys.argv[1:]]))"],
}


@pytest.mark.parametrize("installer", INSTALLERS)
def test_what_pip_installs_lands_in_it_and_comes_first(python: Path, shelf: Path, installer: str) -> None:
    command = [*INSTALLERS[installer], "--find-links", str(shelf), "requests==99.0"]
    command[0] = str(python.parent / command[0])
    output(command, python)
    file = output([str(python), "-c", "import requests; print(requests.__file__, requests.HERE)"], python)
    assert file.startswith(str(python.parents[1])) and file.endswith("overlay")


def test_what_uv_installs_lands_in_it(python: Path, shelf: Path, shared_settings: Settings) -> None:
    binary = str(uv.binary(shared_settings, SPACE_USER))
    venv = python.parents[1]
    command = [binary, "pip", "install", "--no-index", "--no-cache", "--find-links", str(shelf), "own_tool"]
    output(command, python, VIRTUAL_ENV=str(venv), UV_NO_CONFIG="1")
    assert output(["own-tool"], python) == str(venv)


def test_console_scripts_of_the_environment_start_its_python(python: Path) -> None:
    first = (python.parent / "pip").read_text().splitlines()[0]
    assert first == f"#!{python}"
    assert output(["uvicorn", "--version"], python).startswith("Running uvicorn")


@pytest.mark.skipif(not ROOT, reason="only root runs Spaces as users of their own")
def test_it_belongs_to_the_space_and_the_environment_does_not(python: Path, built: Environment) -> None:
    venv = python.parents[1]
    foreign = run_as_space(["find", str(venv), "!", "-user", str(SPACE_USER and SPACE_USER.uid)], python)
    assert (foreign.stdout, foreign.returncode) == ("", 0)
    denied = run_as_space(["touch", f"{built.prefix}/lib/planted"], python)
    assert denied.returncode != 0


def test_it_stays_while_the_environment_does(space: TinySpace, built: Environment, python: Path) -> None:
    kept = python.parents[1] / "kept"
    kept.write_text("installed by the Space")
    assert space.python_of(built) == python
    assert kept.exists()
    space.python_of(replace(built, fingerprint="another"))
    assert not kept.exists()


def test_a_link_that_the_space_planted_is_not_followed(space: TinySpace, built: Environment, python: Path) -> None:
    precious = space.root / "precious"
    precious.mkdir(exist_ok=True)
    (precious / "file").write_text("ours")
    (python.parents[1] / "planted").symlink_to(precious)
    space.python_of(replace(built, fingerprint="another again"))
    assert (precious / "file").read_text() == "ours"


def test_an_old_python_has_one_too(shared_settings: Settings, shelf: Path) -> None:
    old = TinySpace(settings=shared_settings, name="old-python", gradio="3.50.2", python="3.8")
    built = old.build()
    python = old.python_of(built)
    output([str(python), "-m", "pip", "install", "--find-links", str(shelf), "requests==99.0"], python)
    assert output([str(python), "-c", "import requests; print(requests.HERE)"], python) == "overlay"
    assert output([str(python), "-W", "ignore", "-c", "import sys; print(sys.version_info[1])"], python) == "8"


def test_a_very_long_path_is_no_problem(built: Environment, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = open_directory("sr-long-")
    deep = root / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    python = Path(overlay.lay(built, deep / "venv", SPACE_USER))
    answer = subprocess.run(
        [str(python.parent / "pip"), "--version"], capture_output=True, text=True, check=True, env={"PATH": os.defpath}
    )
    assert answer.stdout.startswith("pip ")
