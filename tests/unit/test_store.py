"""The state database: Spaces, runs and events, among many at once."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner.errors import SpaceBusy, UnknownSpace
from spaces_runner.process import Identity
from spaces_runner.settings import Settings
from spaces_runner.store import ID_CHARS, Store
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
from tests.support.stores import HUB, ended, here

__all__ = ["here"]  # a fixture


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
