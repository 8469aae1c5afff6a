"""Starts, crashes, stops and removals in any order: store, journal and sweep against a small model of what holds."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spaces_runner import lost, removal
from spaces_runner.errors import AppExited, SpaceBusy, UnknownSpace
from spaces_runner.process import identify
from spaces_runner.settings import Settings
from spaces_runner.shim.journal import Journal
from spaces_runner.store import Store
from spaces_runner.types import RefKind, RunOptions, SpaceRef, Stage, StageChanged, Step, StepStarted

NAMES = st.sampled_from(["one", "two", "three"])
GPU = "GPU-0"


@dataclass(slots=True, kw_only=True)
class Known:
    """What must hold of one Space. `shim` is a real process; None once it has ended."""

    run_id: str
    stage: Stage = Stage.BUILDING
    stopping: bool = False
    shim: subprocess.Popen[bytes] | None = None
    journal: Journal | None = None
    local_url: str | None = None
    ports: range = field(default_factory=lambda: range(0))

    @property
    def crashed(self) -> bool:
        return self.stage.active and self.journal is not None and self.shim is None


class Machine(RuleBasedStateMachine):
    """The faces' part is done by the store and the sweep, the shims' by journals and processes that sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.mkdtemp(prefix="sr-machine-")
        self.known: dict[str, Known] = {}

    @initialize()
    def begin(self) -> None:
        self.settings = Settings(home=self.home, uid_base=190_000)
        self.store = Store(self.settings)

    def teardown(self) -> None:
        for one in self.known.values():
            self._kill(one)
        self.store.close()
        shutil.rmtree(self.home)

    # What is done.

    @rule(name=NAMES)
    def start(self, name: str) -> None:
        admission = self.store.admit(SpaceRef(kind=RefKind.HUB, source=f"owner/{name}"), RunOptions(), name)
        before = self.known.get(name)
        assert admission.fresh == (before is None or not before.stage.active)
        if before is not None and not admission.fresh:
            assert admission.run_id == before.run_id
            return
        self.known[name] = known = Known(run_id=admission.run_id)
        known.shim = subprocess.Popen(["sleep", "300"])
        known.journal = Journal(self.store, known.run_id, time.sleep)
        shim = identify(known.shim.pid)
        assert shim is not None
        assert known.journal.register(shim)
        known.ports = self.store.claim_ports(known.run_id, lambda _: True)
        self.store.lease(known.run_id, lambda held: GPU)

    @rule(name=NAMES, step=st.sampled_from([Step.CLONE, Step.ENVIRONMENT]))
    def build(self, name: str, step: Step) -> None:
        if (journal := self._at(name, Stage.BUILDING)) is not None:
            journal.note(StepStarted(at=1.0, step=step))

    @rule(name=NAMES, restarts=st.integers(0, 3))
    def launch(self, name: str, restarts: int) -> None:
        if (journal := self._at(name, Stage.BUILDING, Stage.APP_STARTING, Stage.RUNNING)) is not None:
            journal.starting(restarts)
            self.known[name].stage, self.known[name].local_url = Stage.APP_STARTING, None

    @rule(name=NAMES)
    def answer(self, name: str) -> None:
        if (journal := self._at(name, Stage.APP_STARTING, Stage.RUNNING)) is not None:
            known = self.known[name]
            known.stage, known.local_url = Stage.RUNNING, f"http://127.0.0.1:{known.ports.start}/"
            journal.running(known.local_url, None)

    @rule(name=NAMES)
    def fail(self, name: str) -> None:
        if (journal := self._at(name, Stage.BUILDING, Stage.APP_STARTING, Stage.RUNNING)) is not None:
            error = AppExited("It ended.").info
            journal.failed(error)
            self._over(name, error.stage)

    @rule(name=NAMES)
    def crash(self, name: str) -> None:
        """The shim is killed; nobody has noticed yet."""
        if self._at(name, *Stage) is not None:
            self._kill(self.known[name])

    @rule(name=NAMES)
    def ask_stop(self, name: str) -> None:
        """The owner wants it stopped, and the face dies before it could say so to the shim."""
        if name in self.known:
            self.store.ask_stop(name)
            self.known[name].stopping = True

    @rule(name=NAMES)
    def stop(self, name: str) -> None:
        if (journal := self._at(name, *Stage)) is not None:
            self.store.ask_stop(name)
            self.known[name].stopping = True
            journal.ended(Stage.STOPPED)
            self._over(name, Stage.STOPPED)

    @rule()
    def sweep(self) -> None:
        """A face comes: what has lost its shim is ended, and nothing else."""
        gone = {name for name, known in self.known.items() if known.crashed}
        assert set(lost.sweep(self.store, self.settings)) == gone
        for name in gone:
            self._over(name, self._lost_stage(self.known[name]))

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        known = self.known.get(name)
        if known is None:
            return
        if known.stage.active:
            with pytest.raises(SpaceBusy):
                removal.discard(name, self.store, self.settings)
            return
        removal.discard(name, self.store, self.settings)
        del self.known[name]

    @rule()
    def reopen(self) -> None:
        """Another face, or this one after it died: all it knows is what is on disk."""
        self.store.close()
        self.store = Store(self.settings)

    @precondition(lambda self: bool(self.known))
    @rule(data=st.data())
    def attach_late(self, data: st.DataObject) -> None:
        """A shim that was slow to come finds that its run was ended, and gives up."""
        name = data.draw(st.sampled_from(sorted(self.known)))
        if not self.known[name].stage.active:
            myself = identify(1)
            assert myself is not None
            assert not self.store.attach(self.known[name].run_id, myself)

    # What must hold.

    @invariant()
    def every_space_is_what_it_was_left_as(self) -> None:
        runs = {run.space.id: run for run in self.store.runs()}
        assert set(runs) == set(self.known)
        for name, known in self.known.items():
            run = runs[name]
            assert (run.id, run.status.stage, run.space.stopping) == (known.run_id, known.stage, known.stopping)
            assert run.status.local_url == known.local_url
            assert (run.status.ended_at is None) == known.stage.active
            assert (run.status.error is not None) == known.stage.failed
        assert len({run.space.slot for run in runs.values()}) == len(runs)

    @invariant()
    def the_last_event_tells_the_stage(self) -> None:
        for known in self.known.values():
            said = [event for _, event in self.store.events(known.run_id) if isinstance(event, StageChanged)]
            assert (said[-1].stage if said else Stage.BUILDING) == known.stage

    @invariant()
    def only_those_at_work_hold_anything(self) -> None:
        active = {known.run_id: known.ports for known in self.known.values() if known.stage.active}
        assert {watch.space_id for watch in self.store.watches()} == {
            name for name, known in self.known.items() if known.stage.active
        }
        assert {row[0] for row in self._rows("SELECT run_id FROM leases")} == set(active)
        assert {row[0] for row in self._rows("SELECT run_id FROM ports WHERE released IS NULL")} == set(active)
        held = [port for ports in active.values() for port in ports]
        assert len(held) == len(set(held))

    @invariant()
    def what_was_removed_is_unknown(self) -> None:
        for name in {"one", "two", "three"} - set(self.known):
            with pytest.raises(UnknownSpace):
                self.store.run(name)

    # Inside

    def _at(self, name: str, *stages: Stage) -> Journal | None:
        """The journal of a shim that is alive, where its run is at one of `stages`."""
        known = self.known.get(name)
        if known is None or known.shim is None or known.stage not in stages or not known.stage.active:
            return None
        return known.journal

    def _over(self, name: str, stage: Stage) -> None:
        known = self.known[name]
        self._kill(known)
        known.stage, known.local_url = stage, None

    def _lost_stage(self, known: Known) -> Stage:
        if known.stopping:
            return Stage.STOPPED
        return Stage.BUILD_ERROR if known.stage is Stage.BUILDING else Stage.RUNTIME_ERROR

    def _kill(self, known: Known) -> None:
        if known.shim is not None:
            known.shim.send_signal(signal.SIGKILL)
            known.shim.wait(5)
            known.shim = None

    def _rows(self, query: str) -> list[Any]:
        """What is on disk: nothing that the store has kept open is believed."""
        with closing(sqlite3.connect(f"file:{self.settings.database}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()


TestMachine = Machine.TestCase
TestMachine.settings = examples(max_examples=25, stateful_step_count=25, deadline=None)
