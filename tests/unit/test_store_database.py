"""The file of the state database: versions, damage, connections and locks."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner.errors import StateError, StateTooNew
from spaces_runner.settings import Settings
from spaces_runner.store import Store, opened
from spaces_runner.store.database import SCHEMA, VERSION
from spaces_runner.types import (
    RunOptions,
)
from tests.support.stores import HUB, here

__all__ = ["here"]  # a fixture


def test_files_are_closed_to_others(here: Settings) -> None:
    Store(here).admit(HUB, RunOptions())
    assert stat.S_IMODE(here.home_dir.stat().st_mode) == 0o755
    for path in here.home_dir.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_broken_database_is_a_typed_error(here: Settings, content: bytes) -> None:
    here.home_dir.mkdir()
    here.database.write_bytes(content)
    with pytest.raises(StateError) as caught:
        Store(here)
    assert str(here.database) in caught.value.message
    assert "move the file away" in caught.value.hint


def test_a_newer_database_is_left_alone(here: Settings) -> None:
    Store(here).close()
    db = sqlite3.connect(here.database)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StateTooNew) as caught:
        Store(here)
    assert "Update" in caught.value.hint


def test_an_older_database_is_brought_up_to_date(here: Settings) -> None:
    here.home_dir.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(here.database)
    for statement in SCHEMA:
        older = statement.replace(", bytes INTEGER NOT NULL DEFAULT 0", "")
        older = older.replace(", tail TEXT NOT NULL DEFAULT ''", "")
        db.execute(older.replace(",\n        space_id TEXT NOT NULL DEFAULT ''", ""))
    db.execute("INSERT INTO leases (run_id, gpu) VALUES ('old', 'GPU-a')")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()
    store = Store(here)
    viewed = replace(HUB, revision="feature", tail="x/app.py")
    admission = store.admit(viewed, RunOptions())
    assert store.space(admission.space.id).ref == viewed
    run_id = admission.run_id
    store.lease(run_id, lambda _: "GPU-a")
    store.hold(run_id, 5)
    assert store.claim_ports(run_id, lambda _: True)
    db = sqlite3.connect(here.database)
    try:
        assert db.execute("SELECT run_id, bytes FROM leases ORDER BY bytes").fetchall() == [("old", 0), (run_id, 5)]
        assert db.execute("PRAGMA user_version").fetchone()[0] == VERSION
    finally:
        db.close()


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError):
        Store(Settings(home=str(tmp_path / "state")))


def test_the_database_survives_a_killed_writer(here: Settings) -> None:
    Store(here).admit(HUB, RunOptions())
    code = (
        "import os, signal, sys; from spaces_runner.settings import Settings;"
        "from spaces_runner.store.database import Database"
        "\nwith Database(Settings(home=sys.argv[1])).change() as db:"
        "\n    db.execute('DELETE FROM runs'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, here.home], check=False, timeout=30).returncode == -9
    assert len(Store(here).runs()) == 1


def test_another_opening_in_the_same_process_keeps_the_locks(here: Settings) -> None:
    """SQLite's locks belong to the process: with one lost, a process that leaves takes the journal along."""
    first = Store(here)
    admission = first.admit(HUB, RunOptions())
    second = Store(here)
    code = (
        "import sys; from spaces_runner.settings import Settings; from spaces_runner.store import Store;"
        "Store(Settings(home=sys.argv[1])).close()"
    )
    subprocess.run([sys.executable, "-c", code, here.home], check=True, timeout=30)
    first.update(admission.run_id, {"commit_id": "abc"})
    assert second.run(admission.space.id).status.revision == "abc"
    subprocess.run([sys.executable, "-c", code, here.home], check=True, timeout=30)
    assert Store(here).run(admission.space.id).status.revision == "abc"


def test_one_store_is_kept_open_for_a_state_directory(here: Settings) -> None:
    kept = opened(here)
    admission = kept.admit(HUB, RunOptions())
    assert opened(here) is kept
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = list(pool.map(lambda _: opened(here).run(admission.space.id).id, range(20)))
    assert set(found) == {admission.run_id}


def test_threads_that_come_and_go_leave_no_descriptors(here: Settings) -> None:
    def use_it_in_turn(threads: int) -> int:
        for _ in range(threads):
            thread = threading.Thread(target=opened(here).runs)
            thread.start()
            thread.join(10)
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = use_it_in_turn(1)
    assert use_it_in_turn(20) == before


def test_many_readers_and_a_writer_at_once(here: Settings) -> None:
    """Each has a connection to itself: nobody sees half of what another one is writing."""
    store = opened(here)
    run_id = store.admit(HUB, RunOptions()).run_id
    with ThreadPoolExecutor(max_workers=8) as pool:
        writes = [pool.submit(store.update, run_id, {"commit_id": str(number)}) for number in range(20)]
        reads = [pool.submit(store.runs) for _ in range(100)]
        assert {len(each.result(30)) for each in reads} == {1}
        assert all(each.result(30) is None for each in writes)


def test_a_kept_store_sees_that_its_file_was_replaced(here: Settings) -> None:
    opened(here).admit(HUB, RunOptions())
    for path in here.home_dir.glob("state.db*"):
        path.unlink()
    assert opened(here).runs() == ()
    opened(here).admit(HUB, RunOptions())
    assert len(Store(here).runs()) == 1


def test_a_kept_store_sees_a_newer_version(here: Settings) -> None:
    opened(here)
    with sqlite3.connect(here.database) as db:
        db.execute("PRAGMA user_version = 1000")
    db.close()
    with pytest.raises(StateTooNew):
        opened(here)
