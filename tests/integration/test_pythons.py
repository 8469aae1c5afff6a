"""Finding interpreters that every user can run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner.environment import pythons
from spaces_runner.errors import PythonMissing
from spaces_runner.settings import Settings
from tests.support.home import open_directory

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
VERSION = f"{MINOR}.{sys.version_info[2]}"
NOBODY = 65534


@pytest.fixture
def lonely(settings: Settings) -> Iterator[Settings]:
    """Settings of a machine without any interpreter."""
    pythons_dir = settings.home_dir / "uv" / "python"
    pythons_dir.unlink()
    empty = open_directory("sr-empty-")
    yield replace(settings, python_dirs=(), path=str(empty))
    shutil.rmtree(empty)


def base_bin() -> Path:
    return Path(os.path.realpath(Path(sys.base_prefix, "bin", f"python{MINOR}"))).parent


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """This test's interpreter, copied below a directory that only its owner may enter."""
    root = tmp_path / "closed"
    prefix = root / "prefix"
    (prefix / "bin").mkdir(parents=True)
    shutil.copy2(base_bin() / f"python{MINOR}", prefix / "bin")
    skipped = shutil.ignore_patterns("site-packages", "dist-packages", "test", "tests", "__pycache__", "*.a")
    shutil.copytree(sysconfig.get_path("stdlib"), prefix / "lib" / f"python{MINOR}", ignore=skipped)
    for library in Path(sys.base_prefix, "lib").glob(f"libpython{MINOR}*.so*"):
        shutil.copy2(library, prefix / "lib", follow_symlinks=False)
    root.chmod(0o700)
    yield prefix
    shutil.rmtree(root)


def test_finds_this_interpreter_and_asks_it_once(lonely: Settings) -> None:
    there = replace(lonely, path=str(base_bin()))
    found = pythons.find(MINOR, there, fetch=False)
    assert found.minor == MINOR
    before = (there.home_dir / "pythons.json").stat().st_mtime_ns
    assert pythons.find(MINOR, there, fetch=False) == found
    assert (there.home_dir / "pythons.json").stat().st_mtime_ns == before


def test_an_exact_version_that_is_missing_falls_back_to_its_minor(lonely: Settings) -> None:
    found = pythons.find(f"{MINOR}.99", replace(lonely, path=str(base_bin())), fetch=False)
    assert found.minor == MINOR


def test_a_script_called_python_is_no_interpreter(lonely: Settings) -> None:
    shim = Path(lonely.path) / "python3.12"
    shim.write_text(f'#!/bin/sh\nexec {base_bin()}/python{MINOR} "$@"\n')
    shim.chmod(0o755)
    assert pythons.installed(lonely) == ()


def test_a_program_that_answers_nonsense_is_no_interpreter(lonely: Settings) -> None:
    shutil.copy(shutil.which("true") or "/bin/true", Path(lonely.path) / "python3.12")
    assert pythons.installed(lonely) == ()


@pytest.mark.parametrize("version", ["2.7", "3", "three", "3.11; rm -rf /", "../3.11"])
def test_what_is_no_version_is_refused(lonely: Settings, version: str) -> None:
    with pytest.raises(PythonMissing, match="no Python version"):
        pythons.find(version, lonely, fetch=False)


def test_a_missing_python_says_what_there_is_and_what_to_type(lonely: Settings) -> None:
    with pytest.raises(PythonMissing) as caught:
        pythons.find("3.9", replace(lonely, path=str(base_bin())), fetch=False)
    assert "uv python install 3.9" in caught.value.hint or MINOR == "3.9"
    assert f"{MINOR}." in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts Spaces as other users, so only root makes copies")
def test_an_interpreter_behind_a_closed_door_is_copied_once(lonely: Settings, closed: Path) -> None:
    there = replace(lonely, python_dirs=(str(closed / "bin"),))
    found = pythons.find(MINOR, there, fetch=False)
    assert Path(found.path).is_relative_to(there.pythons_dir)
    answer = subprocess.run(
        [found.path, "-I", "-c", "import sys, ctypes; print(sys.base_prefix)"],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert answer.stdout.strip() == found.prefix
    inode = Path(found.path).stat().st_ino
    assert Path(pythons.find(MINOR, there, fetch=False).path).stat().st_ino == inode
