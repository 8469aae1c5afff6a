"""What the store keeps, as values, and how they are read from rows. Knows no connection."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from spaces_runner.codec import decode
from spaces_runner.process import Identity
from spaces_runner.types import ErrorInfo, Finding, RefKind, RunOptions, SpaceRef, SpaceStatus, Stage, Step

# What a run's row may be told after it was made.
RUN_COLUMNS = (
    "stage", "step", "commit_id", "local_url", "share_url", "gpu", "ready", "ended", "shim", "app", "exit_code",
    "restarts", "error", "findings", "diff",
)  # fmt: skip

RUNS = (
    "SELECT runs.*, spaces.kind, spaces.source, spaces.name, spaces.revision, spaces.tail, spaces.options, "
    "spaces.slot, spaces.stopping, runs.id AS run_id, runs.created AS run_created "
    "FROM runs JOIN spaces ON spaces.id = runs.space_id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A Space as it was last asked for."""

    id: str
    ref: SpaceRef
    name: str | None  # tells it from others of the same source
    options: RunOptions
    slot: int
    stopping: bool  # the owner wants it stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The current or last run of a Space."""

    id: str
    space: Space
    status: SpaceStatus
    created: float
    shim: Identity | None
    app: Identity | None
    diff: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who watches over an active run. None: its shim is not there yet, or its face died before there was one."""

    space_id: str
    created: float
    shim: Identity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The answer to a request to run. `fresh`: the caller must start a shim; else the Space is at work already."""

    space: Space
    run_id: str
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a run at `stage` holds of its GPU, in bytes; 0 where nobody can tell."""

    run_id: str
    stage: Stage
    size: int


def read_space(row: sqlite3.Row) -> Space:
    return Space(
        id=row["space_id"] if "space_id" in row.keys() else row["id"],  # noqa: SIM118  # a Row is no mapping
        ref=SpaceRef(kind=RefKind(row["kind"]), source=row["source"], revision=row["revision"], tail=row["tail"]),
        name=row["name"] or None,
        options=decode(RunOptions, json.loads(row["options"])),
        slot=row["slot"],
        stopping=bool(row["stopping"]),
    )


def read_run(row: sqlite3.Row) -> Run:
    return Run(
        id=row["run_id"],
        space=read_space(row),
        status=_status(row),
        created=row["run_created"],
        shim=_identity(row["shim"]),
        app=_identity(row["app"]),
        diff=row["diff"],
    )


def read_watch(row: sqlite3.Row) -> Watch:
    return Watch(space_id=row["space_id"], created=row["created"], shim=_identity(row["shim"]))


def _status(row: sqlite3.Row) -> SpaceStatus:
    """What a face shows of a row of RUNS."""
    kind, source = RefKind(row["kind"]), row["source"]
    app = _identity(row["app"])
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


def _identity(text: str | None) -> Identity | None:
    return decode(Identity, json.loads(text)) if text else None


def _iso(seconds: float | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else None
