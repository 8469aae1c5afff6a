"""Byte code of an environment: all of it, told while it is written, and written once."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from spaces_runner.environment import bytecode
from spaces_runner.environment.pythons import Python

HERE = Python(
    path=sys.executable,
    version=".".join(map(str, sys.version_info[:3])),
    prefix=sys.base_prefix,
    tag=f"{sys.implementation.cache_tag}-{importlib.util.MAGIC_NUMBER.hex()}",
)


def site_of(folder: Path, modules: int) -> Path:
    """As many modules, the first of which is no Python."""
    package = folder / "site" / "pack"
    package.mkdir(parents=True)
    (package / "m0.py").write_text("print 'of another age'\n")
    for number in range(1, modules):
        (package / f"m{number}.py").write_text(f"NUMBER = {number}\n")
    return folder / "site"


def compiled(site: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in site.rglob("*.pyc")}


def test_every_module_is_told_and_has_its_byte_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    site = site_of(tmp_path, 250)
    told: list[tuple[int, int]] = []
    written = bytecode.write(site, Path("/final"), HERE, tmp_path / "store", lambda *now: told.append(now))
    assert (written.linked, written.compiled) == (0, 250)
    assert compiled(site) == {f"m{number}" for number in range(1, 250)}
    assert told[-1] == (250, 250)
    assert told == sorted(told)
    code = next(site.rglob("m7.*.pyc")).read_bytes()
    assert b"/final/pack/m7.py" in code


def test_what_is_in_the_store_is_linked(tmp_path: Path) -> None:
    site = site_of(tmp_path / "one", 5)
    other = tmp_path / "other"
    (other / "pack").mkdir(parents=True)
    for path in (site / "pack").iterdir():
        (other / "pack" / path.name).hardlink_to(path)  # as uv installs from its cache
    (site / "pack" / "m0.py").unlink()
    (other / "pack" / "m0.py").unlink()
    bytecode.write(site, Path("/one"), HERE, tmp_path / "store", lambda done, total: None)
    told: list[tuple[int, int]] = []
    written = bytecode.write(other, Path("/other"), HERE, tmp_path / "store", lambda *now: told.append(now))
    assert (written.linked, written.compiled) == (4, 0)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert compiled(other) == {"m1", "m2", "m3", "m4"}


def test_what_takes_too_long_is_left_to_the_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "COMPILE_TIMEOUT_S", 0.0)
    site = site_of(tmp_path, 2000)
    bytecode.write(site, Path("/final"), HERE, tmp_path / "store", lambda done, total: None)
    assert len(compiled(site)) < 1999
