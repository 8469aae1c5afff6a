"""Finding interpreters that every user can run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner.compat import PythonChoice
from spaces_runner.environment import pythons, told
from spaces_runner.environment.choose import interpreters
from spaces_runner.errors import PythonMissing
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from tests.support.home import open_directory
from tests.support.index import Index, serving

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
def alone(lonely: Settings) -> Settings:
    """Settings of a machine with this interpreter, from which no other can be had."""
    return replace(lonely, path=str(base_bin()), python_mirror="http://127.0.0.1:9")


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


OTHER = "3.9" if MINOR != "3.9" else "3.10"


def chosen(choice: PythonChoice, settings: Settings) -> tuple[list[str], list[str], list[str]]:
    """The minor versions, the codes of the findings for the first, and what the log says."""
    log: list[str] = []
    found = list(interpreters(choice, settings, Reporter(log=log.append)))
    return [python.minor for python in found], [told.code for told in told.python_differs(choice, found[0])], log


def test_versions_in_order_of_preference_of_those_that_are_here(alone: Settings) -> None:
    choice = PythonChoice(versions=(OTHER, MINOR), source="its age")
    minors, codes, log = chosen(choice, alone)
    assert (minors, codes) == ([MINOR], [])
    assert log == [], "nothing is fetched where one that suits is here"


@pytest.mark.parametrize("asked", [True, False])
def test_the_nearest_one_where_none_that_suits_can_be_had(alone: Settings, asked: bool) -> None:
    choice = PythonChoice(versions=(OTHER,), source="python_version in README.md", asked=asked)
    minors, codes, log = chosen(choice, alone)
    assert (minors, codes) == ([MINOR], ["python-nearest"])
    assert any("asking uv to fetch it" in line for line in log)
    assert any("nearest" in line for line in log)


def test_nothing_is_fetched_where_the_owner_wants_it_so(alone: Settings) -> None:
    choice = PythonChoice(versions=(OTHER,), source="its age")
    minors, _, log = chosen(choice, replace(alone, python_downloads=False))
    assert minors == [MINOR]
    assert any("UV_PYTHON_DOWNLOADS" in line for line in log)
    assert not any("asking uv" in line for line in log)


def test_no_other_will_do_where_the_owner_or_a_wheel_says_so(alone: Settings) -> None:
    with pytest.raises(PythonMissing, match=f"Python {OTHER} is not on this machine"):
        interpreters(PythonChoice(versions=(OTHER,), source="", asked=True, firm=True), alone, Reporter())


def test_a_version_that_does_not_exist_has_no_nearest_one(alone: Settings) -> None:
    assert pythons.exists(OTHER, alone)
    assert not pythons.exists("3.99", alone)
    with pytest.raises(PythonMissing, match=r"3\.99"):
        interpreters(PythonChoice(versions=("3.99",), source="", asked=True), alone, Reporter())


def test_a_machine_without_any_says_so(lonely: Settings) -> None:
    with pytest.raises(PythonMissing) as caught:
        interpreters(PythonChoice(versions=("3.10",), source=""), replace(lonely, python_downloads=False), Reporter())
    assert "none" in caught.value.hint


def test_what_is_not_here_is_fetched_by_uv_and_found_from_then_on(
    lonely: Settings, closed: Path, tmp_path: Path
) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        tar.add(closed, "python")
    files = {"python.tar.gz": archive.getvalue()}
    with serving(Index(files=files)) as root:
        listed = tmp_path / "pythons.json"
        listed.write_text(json.dumps({"cpython": release(f"{root}/files/python.tar.gz", archive.getvalue())}))
        listed.chmod(0o644)
        there = replace(lonely, python_list=str(listed))
        found = list(interpreters(PythonChoice(versions=(MINOR,), source="its age"), there, Reporter()))
    assert [python.version for python in found] == [VERSION]
    assert Path(found[0].path).is_relative_to(there.pythons_dir)
    assert pythons.find(MINOR, there, fetch=False) == found[0]


def release(url: str, archive: bytes) -> dict[str, object]:
    """The row of uv's list for this interpreter."""
    major, minor, patch = sys.version_info[:3]
    return {
        "name": "cpython",
        "arch": {"family": platform.machine(), "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": url,
        "sha256": hashlib.sha256(archive).hexdigest(),
        "variant": None,
        "build": "1",
    }
