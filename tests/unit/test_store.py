"""The state database: what it keeps, among many at once, and what it says when it is broken."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner import gpu
from spaces_runner.errors import PortTaken, SpaceBusy, StateError, StateTooNew, UnknownSpace
from spaces_runner.process import Identity
from spaces_runner.settings import Settings
from spaces_runner.store import ID_CHARS, Store, opened
from spaces_runner.store.database import SCHEMA, VERSION
from spaces_runner.types import (
    ErrorInfo,
    Failed,
    Finding,
    Progress,
    RefKind,
    RunOptions,
    Severity,
    SpaceRef,
    Stage,
    StageChanged,
    Step,
    StepStarted,
)

HUB = SpaceRef(kind=RefKind.HUB, source="Owner/Some_Space")


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path / "state"))


def ended(store: Store, run_id: str, stage: Stage = Stage.STOPPED) -> None:
    store.record(run_id, StageChanged(at=1.0, stage=stage), {"stage": stage})


def test_files_are_closed_to_others(here: Settings) -> None:
    Store(here).admit(HUB, RunOptions())
    assert stat.S_IMODE(here.home_dir.stat().st_mode) == 0o755
    for path in here.home_dir.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_run_from_its_admission_to_its_end(here: Settings) -> None:
    store = Store(here)
    options = RunOptions(share=False, gpu="1", variables={"A": "b"}, app_args=("--x",))
    admission = store.admit(HUB, options)
    assert admission.fresh
    assert admission.space.id == "owner-some-space"
    status = store.run(admission.space.id).status
    assert (status.stage, status.space, status.revision) == (Stage.BUILDING, "Owner/Some_Space", None)
    assert status.started_at is not None
    assert status.started_at.endswith("+00:00")
    assert store.run(admission.space.id).space.options == options
    store.update(admission.run_id, {"commit_id": "abc", "gpu": "0: H200"})
    info = ErrorInfo(code="x", stage=Stage.RUNTIME_ERROR, step=Step.LAUNCH, message="m", lines=("l",))
    store.record(admission.run_id, Failed(at=2.0, error=info), {"error": info})
    ended(store, admission.run_id, Stage.RUNTIME_ERROR)
    status = Store(here).run(admission.space.id).status
    assert (status.stage, status.revision, status.gpu, status.error) == (Stage.RUNTIME_ERROR, "abc", "0: H200", info)


def test_findings_and_identities_come_back(here: Settings) -> None:
    store = Store(here)
    admission = store.admit(HUB, RunOptions())
    finding = Finding(code="c", severity=Severity.WARNING, message="m", lines=("a", "b"))
    who = Identity(pid=1, start=2, boot="b")
    store.update(admission.run_id, {"findings": [finding], "shim": who, "app": who})
    run = store.run(admission.space.id)
    assert run.status.findings == (finding,)
    assert (run.shim, run.app, run.status.pid) == (who, who, 1)


def test_an_unknown_column_is_a_mistake(here: Settings) -> None:
    store = Store(here)
    with pytest.raises(ValueError, match="columns"):
        store.update(store.admit(HUB, RunOptions()).run_id, {"id": "x"})


def test_what_is_at_work_is_adopted(here: Settings) -> None:
    store = Store(here)
    first = store.admit(HUB, RunOptions())
    second = store.admit(HUB, RunOptions(share=False))
    assert not second.fresh
    assert (second.space.id, second.run_id) == (first.space.id, first.run_id)
    ended(store, first.run_id)
    third = store.admit(HUB, RunOptions())
    assert third.fresh
    assert third.space.id == first.space.id
    assert third.space.slot == first.space.slot


def test_another_revision_of_what_is_at_work_is_refused(here: Settings) -> None:
    store = Store(here)
    store.admit(HUB, RunOptions())
    with pytest.raises(SpaceBusy, match="default branch"):
        store.admit(replace(HUB, revision="v2"), RunOptions())


def test_of_fifty_at_once_one_is_fresh(here: Settings) -> None:
    with ThreadPoolExecutor(50) as pool:
        admissions = list(pool.map(lambda _: Store(here).admit(HUB, RunOptions()), range(50)))
    assert sum(admission.fresh for admission in admissions) == 1
    assert len({admission.run_id for admission in admissions}) == 1


def test_of_many_processes_at_once_one_is_fresh(here: Settings) -> None:
    code = (
        "import sys; from spaces_runner.settings import Settings; from spaces_runner.store import Store;"
        "from spaces_runner.types import *;"
        "a = Store(Settings(home=sys.argv[1])).admit(SpaceRef(kind=RefKind.HUB, source='o/n'), RunOptions());"
        "print(a.fresh)"
    )
    command = [sys.executable, "-c", code, here.home]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = [child.communicate(timeout=60)[0].strip() for child in children]
    assert sorted(said) == ["False"] * 7 + ["True"]


def test_ids_are_short_and_unique(here: Settings) -> None:
    store = Store(here)

    def id_of(source: str, name: str | None = None, kind: RefKind = RefKind.DIRECTORY) -> str:
        return store.admit(SpaceRef(kind=kind, source=source), RunOptions(), name).space.id

    assert id_of("/a/demo") == "demo"
    assert id_of("/b/demo") == "demo-2"
    assert id_of("/b/demo", "Mine!") == "mine"
    assert id_of("o/demo", kind=RefKind.HUB) == "o-demo"
    assert id_of("/c/Ünicode_Ω") == "nicode"
    assert id_of("/c/Ω") == "space"
    long = [id_of(f"/{number}/{'x' * 60}") for number in range(3)]
    assert len(set(long)) == 3
    assert all(len(one) <= ID_CHARS for one in long)


def test_users_are_unique_and_come_back_late(here: Settings) -> None:
    store = Store(here)
    admissions = [store.admit(SpaceRef(kind=RefKind.DIRECTORY, source=f"/{n}"), RunOptions()) for n in range(3)]
    slots = [admission.space.slot for admission in admissions]
    assert len(set(slots)) == 3
    ended(store, admissions[1].run_id)
    store.forget(admissions[1].space.id, lambda: None)
    fresh = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/9"), RunOptions()).space
    assert fresh.slot not in slots
    user = store.user(fresh)
    assert (user is None) == (os.geteuid() != 0)
    assert user is None or user.uid == user.gid == here.uid_base + fresh.slot


def test_state_directories_begin_with_different_users(tmp_path: Path) -> None:
    slots = {Store(Settings(home=str(tmp_path / str(n)))).admit(HUB, RunOptions()).space.slot for n in range(5)}
    assert len(slots) >= 4


def test_events_have_growing_numbers_and_only_the_newest_progress(here: Settings) -> None:
    store = Store(here)
    run_id = store.admit(HUB, RunOptions()).run_id
    store.record(run_id, StepStarted(at=1.0, step=Step.CLONE), {"step": Step.CLONE})
    for done in range(3):
        store.record(run_id, Progress(at=2.0, step=Step.CLONE, done=done, total=3, unit="bytes"))
    store.record(run_id, Progress(at=2.0, step=Step.LFS, done=1, total=None, unit="objects"))
    found = store.events(run_id)
    assert [type(event).__name__ for _, event in found] == ["StepStarted", "Progress", "Progress"]
    assert isinstance(found[1][1], Progress)
    assert found[1][1].done == 2
    assert [number for number, _ in found] == sorted(number for number, _ in found)
    assert store.events(run_id, found[-1][0]) == ()
    assert store.events(run_id, found[0][0]) == found[1:]


def test_a_new_run_drops_the_old_ones_events(here: Settings) -> None:
    store = Store(here)
    first = store.admit(HUB, RunOptions())
    ended(store, first.run_id)
    second = store.readmit(first.space)
    assert second.fresh
    assert not store.readmit(first.space).fresh
    assert store.events(first.run_id) == ()
    assert store.run(first.space.id).id == second.run_id


def test_a_lost_run_is_ended_once(here: Settings) -> None:
    store = Store(here)
    run_id = store.admit(HUB, RunOptions()).run_id
    event = StageChanged(at=1.0, stage=Stage.STOPPED)
    assert store.end_lost(run_id, [event], {"stage": Stage.STOPPED})
    assert not store.end_lost(run_id, [event], {"stage": Stage.STOPPED})
    assert len(store.events(run_id)) == 1


def test_an_unknown_space(here: Settings) -> None:
    store = Store(here)
    for ask in (store.run, store.space):
        with pytest.raises(UnknownSpace):
            ask("nobody")


def test_a_space_at_work_is_not_forgotten(here: Settings) -> None:
    store = Store(here)
    admission = store.admit(HUB, RunOptions())
    with pytest.raises(SpaceBusy):
        store.forget(admission.space.id, lambda: None)
    ended(store, admission.run_id)
    store.forget(admission.space.id, lambda: None)
    assert store.spaces() == ()


def test_forgetting_is_undone_when_its_files_cannot_be_moved(here: Settings) -> None:
    store = Store(here)
    admission = store.admit(HUB, RunOptions())
    ended(store, admission.run_id)

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        store.forget(admission.space.id, fail)
    assert store.space(admission.space.id) == replace(admission.space, stopping=False)


def test_ports_are_free_and_rest_before_they_come_back(here: Settings) -> None:
    store = Store(here)
    first = store.claim_ports("a", lambda _: True)
    second = store.claim_ports("b", lambda _: True)
    assert len(first) == 10
    assert not set(first) & set(second)
    store.release_ports("a")
    third = store.claim_ports("c", lambda _: True)
    assert not set(third) & (set(first) | set(second))
    taken = third.stop + 3
    fourth = store.claim_ports("d", lambda port: port != taken)
    assert taken not in fourth
    assert fourth.start > third.start


def claim(store: Store, name: str, is_free: Callable[[int], bool] = lambda _: True) -> range:
    """The ports of a new run of the Space of that name."""
    return store.claim_ports(store.admit(HUB, RunOptions(), name).run_id, is_free)


def claim_and_end(store: Store, name: str) -> range:
    block = claim(store, name)
    ended(store, store.run(name).id)
    return block


def test_a_space_keeps_its_ports(here: Settings) -> None:
    store = Store(here)
    first = claim_and_end(store, "one")
    assert claim(store, "two") != first, "they rest for others"
    assert claim_and_end(store, "one") == first, "but not for the Space that had them"
    other = claim(store, "one", lambda port: port not in first)
    assert other != first, "a server of somebody else's is there"
    ended(store, store.run("one").id)
    assert claim_and_end(store, "one") == other


def test_ports_that_rested_are_anybodys(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spaces_runner.store.blocks.REST_S", 0.0)
    monkeypatch.setattr("spaces_runner.store.blocks.BLOCKS", 2)
    store = Store(here)
    first, second = claim_and_end(store, "one"), claim_and_end(store, "two")
    assert claim(store, "three") == first
    assert claim(store, "one") == second, "what it had is in use, and whose the other was is no reason to have none"


def test_ports_of_another_range_are_not_kept(here: Settings) -> None:
    store, moved = Store(here), Store(replace(here, port_base=here.port_base + 20_000))
    claim_and_end(store, "one")
    assert claim(moved, "one").start >= here.port_base + 20_000


def test_the_end_of_a_run_gives_ports_and_gpu_back(here: Settings) -> None:
    store = Store(here)
    run_id = store.admit(HUB, RunOptions()).run_id
    store.claim_ports(run_id, lambda _: True)
    store.lease(run_id, lambda held: "GPU-1")
    seen: list[dict[str, int]] = []
    store.lease("other", lambda held: seen.append(dict(held)))
    ended(store, run_id)
    store.lease("other", lambda held: seen.append(dict(held)))
    assert seen == [{"GPU-1": 1}, {}]
    with sqlite3.connect(here.database) as db:
        released = db.execute("SELECT released FROM ports").fetchall()
    db.close()
    assert released[0][0] is not None


def test_no_port_is_free(here: Settings) -> None:
    with pytest.raises(PortTaken) as caught:
        Store(here).claim_ports("a", lambda _: False)
    assert "SPACES_RUNNER_PORT_BASE" in caught.value.hint


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


def test_what_others_on_the_same_gpu_claim(here: Settings) -> None:
    store = Store(here)
    mine, starting, elsewhere = (store.admit(HUB, RunOptions(), name).run_id for name in ("a", "b", "c"))
    store.lease(mine, lambda _: "GPU-a")
    store.lease(starting, lambda _: "GPU-a")
    store.lease(elsewhere, lambda _: "GPU-b")
    for run_id, size in ((mine, 1), (starting, 20), (elsewhere, 300)):
        store.hold(run_id, size)
    assert gpu.promised(store, mine) == 20
    store.update(starting, {"stage": Stage.RUNNING})
    assert gpu.promised(store, mine) == 0, "what it took by then is what the driver says"
    assert [claim.size for claim in store.neighbours(mine)] == [20]
    store.update(starting, {"stage": Stage.STOPPED})
    assert store.neighbours(mine) == ()
    store.hold("nobody", 5)


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
