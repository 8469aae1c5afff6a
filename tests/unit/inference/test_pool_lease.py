"""The core's line in the ledger of GPUs, and what it makes of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from app.inference.pool.lease import lease_of
from app.inference.pool.ledger import HostLedger
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import RefKind, RunOptions, SpaceRef, Stage


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path))


def run_on(store: Store, kind: RefKind, name: str) -> str:
    run_id = store.admit(SpaceRef(kind=kind, source=name), RunOptions()).run_id
    store.lease(run_id, lambda _: "GPU-a")
    return run_id


def test_a_space_that_starts_and_the_core_see_each_other(here: Settings) -> None:
    store = Store(here)
    core, space = run_on(store, RefKind.CORE, "core"), run_on(store, RefKind.DIRECTORY, "/a")
    lease = lease_of(here, core)
    assert lease is not None
    lease.hold(7)
    assert [(claim.run_id, claim.size) for claim in store.neighbours(space)] == [(core, 7)]
    store.hold(space, 30)
    assert lease.promised() == 30
    store.update(space, {"stage": Stage.RUNNING})
    assert lease.promised() == 0


def test_a_core_that_is_no_run_has_no_line(here: Settings) -> None:
    assert lease_of(here, None) is None
    assert lease_of(here, "") is None


def test_a_ledger_that_cannot_be_used_keeps_nothing_from_being_served(
    here: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    lease = lease_of(here, run_on(Store(here), RefKind.CORE, "core"))
    assert lease is not None
    db = sqlite3.connect(here.database)
    db.execute("DROP TABLE leases")
    db.commit()
    db.close()
    lease.hold(7)
    assert lease.promised() == 0
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_the_budget_of_the_host_is_what_it_holds_and_what_is_free() -> None:
    ledger = HostLedger()
    assert ledger.budget(0) > 0
    assert ledger.budget(10**12) >= 10**12, "what is held already can be held on"
    assert ledger.host_room() > 0
