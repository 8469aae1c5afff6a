"""The tables of the state database, and how a row of `runs` reads. Knows no connection."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime

from spaces_runner.codec import decode
from spaces_runner.process import Identity
from spaces_runner.types import ErrorInfo, Finding, RefKind, SpaceRef, SpaceStatus, Stage, Step

VERSION = 1

SCHEMA = (
    """CREATE TABLE spaces (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL, revision TEXT,
        options TEXT NOT NULL, slot INTEGER NOT NULL UNIQUE, created REAL NOT NULL,
        stopping INTEGER NOT NULL DEFAULT 0, UNIQUE (kind, source, name))""",
    """CREATE TABLE runs (
        id TEXT PRIMARY KEY, space_id TEXT NOT NULL UNIQUE REFERENCES spaces (id), created REAL NOT NULL,
        stage TEXT NOT NULL, step TEXT, commit_id TEXT, local_url TEXT, share_url TEXT, gpu TEXT,
        ready REAL, ended REAL, shim TEXT, app TEXT, exit_code INTEGER, restarts INTEGER NOT NULL DEFAULT 0,
        error TEXT, findings TEXT NOT NULL DEFAULT '[]', diff TEXT NOT NULL DEFAULT '')""",
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, kind TEXT NOT NULL, step TEXT NOT NULL,
        data TEXT NOT NULL)""",
    "CREATE INDEX events_of_run ON events (run_id, seq)",
    "CREATE TABLE leases (run_id TEXT PRIMARY KEY, gpu TEXT NOT NULL)",
    "CREATE TABLE ports (first INTEGER PRIMARY KEY, size INTEGER NOT NULL, run_id TEXT NOT NULL, released REAL)",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
)

# What a run's row may be told after it was made.
RUN_COLUMNS = (
    "stage", "step", "commit_id", "local_url", "share_url", "gpu", "ready", "ended", "shim", "app", "exit_code",
    "restarts", "error", "findings", "diff",
)  # fmt: skip


def status(row: sqlite3.Row) -> SpaceStatus:
    """What a face shows of a row of `store.RUNS`."""
    kind, source = RefKind(row["kind"]), row["source"]
    app = identity(row["app"])
    active = Stage(row["stage"]).active
    return SpaceStatus(
        id=row["space_id"],
        space=str(SpaceRef(kind=kind, source=source)),
        revision=row["commit_id"] or row["revision"],
        stage=Stage(row["stage"]),
        step=Step(row["step"]) if row["step"] and active else None,
        local_url=row["local_url"] if active else None,
        share_url=row["share_url"] if active else None,
        gpu=row["gpu"],
        started_at=_iso(row["run_created"]),
        ready_at=_iso(row["ready"]),
        ended_at=_iso(row["ended"]),
        pid=app.pid if app and active else None,
        exit_code=row["exit_code"],
        restarts=row["restarts"],
        error=decode(ErrorInfo, json.loads(row["error"])) if row["error"] else None,
        findings=tuple(decode(Finding, item) for item in json.loads(row["findings"])),
    )


def identity(text: str | None) -> Identity | None:
    return decode(Identity, json.loads(text)) if text else None


def _iso(seconds: float | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else None
