"""A copy of the state that is whole at any moment, and the state made from it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from spaces_runner.notebook.keep import SAVE_S, Keeper
from spaces_runner.notebook.resume import resume
from spaces_runner.notebook.snapshot import Snapshot
from spaces_runner.notebook.tell import Tell
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import RefKind, RunOptions, SpaceRef

REF = SpaceRef(kind=RefKind.HUB, source="owner/one")
OTHER = SpaceRef(kind=RefKind.HUB, source="owner/other")


def snapshot(tmp_path: Path, home: str = "home") -> Snapshot:
    return Snapshot(kept=tmp_path / "kept" / "state.db", settings=Settings(home=str(tmp_path / home)))


def test_what_is_saved_is_there_on_the_next_machine(tmp_path: Path) -> None:
    first = snapshot(tmp_path)
    store = Store(first.settings)
    admitted = store.admit(REF, RunOptions(variables={"A": "b"}))
    assert first.save()
    assert not first.save(), "nothing is new"
    store.ask_stop(admitted.space.id)
    assert first.save()
    assert [path.name for path in first.kept.parent.iterdir()] == ["state.db"]
    assert first.kept.stat().st_mode & 0o777 == 0o600

    second = snapshot(tmp_path, "next")
    second.settings.home_dir.mkdir()
    assert second.restore()
    (space,) = Store(second.settings).spaces()
    assert (space.ref, space.options.variables, space.stopping) == (REF, {"A": "b"}, True)
    assert not second.restore(), "there is a state now"


def test_a_damaged_copy_is_put_aside(tmp_path: Path) -> None:
    first = snapshot(tmp_path)
    Store(first.settings).admit(REF, RunOptions())
    first.save()
    data = bytearray(first.kept.read_bytes())
    data[4096:8192] = os.urandom(4096)
    first.kept.write_bytes(data)
    second = snapshot(tmp_path, "next")
    second.settings.home_dir.mkdir()
    said: list[str] = []
    resume(second, OTHER, second.settings, said.append)
    assert "cannot be used" in said[0]
    assert not second.settings.database.exists()
    assert second.kept.with_suffix(".damaged").is_file() and not second.kept.exists()


def test_a_copy_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    blocked = Snapshot(kept=tmp_path / "file" / "state.db", settings=Settings(home=str(tmp_path / "home")))
    Store(blocked.settings)
    (tmp_path / "file").write_text("")
    keeper = Keeper(snapshot=blocked, tell=Tell(writing))
    keeper.save_when_due(100.0)
    keeper.save_when_due(101.0)
    keeper.save_when_due(100.0 + SAVE_S)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = pipe.readlines()
    assert len(lines) == 1 and "The state cannot be saved in" in lines[0]


def test_what_an_owner_stopped_is_not_started_again(tmp_path: Path) -> None:
    first = snapshot(tmp_path)
    store = Store(first.settings)
    store.ask_stop(store.admit(REF, RunOptions()).space.id)
    store.admit(OTHER, RunOptions())  # which the cell orders
    first.save()
    second = snapshot(tmp_path, "next")
    second.settings.home_dir.mkdir()
    said: list[str] = []
    resume(second, OTHER, second.settings, said.append)
    assert said == [f"Went on from {second.kept}: the Spaces of the last machine are known (2)."]


def test_a_file_that_is_no_database_is_no_state(tmp_path: Path) -> None:
    made = snapshot(tmp_path)
    made.settings.home_dir.mkdir()
    made.kept.parent.mkdir()
    made.kept.write_text("no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError):
        made.restore()
