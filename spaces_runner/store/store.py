"""What the runner remembers: Spaces, runs, events, leases of GPUs and ports, in one SQLite file. Knows no policy.

Several faces and shims use the file at once. Every change is one transaction, on disk before it returns.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from spaces_runner.codec import encode
from spaces_runner.errors import SpaceBusy, StateError, UnknownSpace
from spaces_runner.process import Identity, users_at_work
from spaces_runner.report import decode_event, encode_event
from spaces_runner.settings import Settings
from spaces_runner.store import blocks
from spaces_runner.store.database import Database
from spaces_runner.store.records import (
    RUN_COLUMNS,
    RUNS,
    Admission,
    Claim,
    Run,
    Space,
    Watch,
    read_run,
    read_space,
    read_watch,
)
from spaces_runner.types import (
    Event,
    Progress,
    RunOptions,
    SpaceRef,
    Stage,
    User,
)

ID_CHARS = 40
USER_SLOTS = 4000
_ACTIVE = tuple(stage.value for stage in Stage if stage.active)
_IS_ACTIVE = f"stage IN ({','.join('?' * len(_ACTIVE))})"


class Store:
    """Typed access to the state database. May be shared by threads."""

    def __init__(self, settings: Settings) -> None:
        """Opens the database, and makes it where there is none. Raises StateError."""
        self._settings = settings
        self._database = Database(settings)

    def check(self) -> None:
        """As opening it again, for much less: its file is there and of this version. Raises StateError."""
        self._database.check()

    def stands(self) -> bool:
        """Whether what this store opened is still what others open."""
        return self._database.stands()

    # Spaces

    def admit(self, ref: SpaceRef, options: RunOptions, name: str | None = None) -> Admission:
        """A run for `ref`: the one at work, or a new one. Of many callers at once exactly one gets a fresh run.

        A Space is known by its source and its name; raises SpaceBusy where it is at work at another revision.
        """
        with self._database.change() as db:
            row = db.execute(
                "SELECT * FROM spaces WHERE kind = ? AND source = ? AND name = ?", (ref.kind, ref.source, name or "")
            ).fetchone()
            if row is not None and (run := self._active_run(db, row["id"])):
                space = read_space(row)
                if space.ref.revisions != ref.revisions:
                    raise SpaceBusy(
                        f"{space.id} is at work at {space.ref.revisions[0] or 'its default branch'}.",
                        hint="Stop it first, or give this one a name of its own.",
                    )
                return Admission(space=space, run_id=run, fresh=False)
            space = read_space(row) if row is not None else self._add_space(db, ref, name)
            space = replace(space, ref=ref, options=options, stopping=False)
            db.execute(
                "UPDATE spaces SET revision = ?, tail = ?, options = ?, stopping = 0 WHERE id = ?",
                (ref.revision, ref.tail, json.dumps(encode(options)), space.id),
            )
            return Admission(space=space, run_id=self._add_run(db, space), fresh=True)

    def readmit(self, space: Space) -> Admission:
        """A run for a Space as it was last asked for, or the one at work."""
        with self._database.change() as db:
            if run := self._active_run(db, space.id):
                return Admission(space=space, run_id=run, fresh=False)
            db.execute("UPDATE spaces SET stopping = 0 WHERE id = ?", (space.id,))
            return Admission(space=space, run_id=self._add_run(db, space), fresh=True)

    def spaces(self) -> tuple[Space, ...]:
        with self._database.read() as db:
            return tuple(read_space(row) for row in db.execute("SELECT * FROM spaces ORDER BY created"))

    def space(self, space_id: str) -> Space:
        """Raises UnknownSpace."""
        with self._database.read() as db:
            row = db.execute("SELECT * FROM spaces WHERE id = ?", (space_id,)).fetchone()
        if row is None:
            raise UnknownSpace(f"There is no Space {space_id!r} here.", hint="spaces-runner ps lists what there is.")
        return read_space(row)

    def ask_stop(self, space_id: str) -> None:
        """Remember that the owner wants it stopped, before anything is done about it."""
        with self._database.change() as db:
            db.execute("UPDATE spaces SET stopping = 1 WHERE id = ?", (space_id,))

    def forget(self, space_id: str, meanwhile: Callable[[], None]) -> None:
        """Drop a Space, its runs and its user. `meanwhile` runs while nobody can start it. Raises SpaceBusy."""
        with self._database.change() as db:
            if self._active_run(db, space_id):
                raise SpaceBusy(f"{space_id} was started again.", hint="Stop it first.")
            meanwhile()
            self._drop_runs(db, space_id)
            db.execute("DELETE FROM spaces WHERE id = ?", (space_id,))

    def user(self, space: Space) -> User | None:
        """Who the Space runs as: a user of its own where we are root, else nobody else."""
        if os.geteuid() != 0:
            return None
        uid = self._settings.uid_base + space.slot
        return User(uid=uid, gid=uid)

    # Runs

    def runs(self) -> tuple[Run, ...]:
        """The current or last run of every Space, oldest Space first."""
        with self._database.read() as db:
            return tuple(read_run(row) for row in db.execute(RUNS + " ORDER BY spaces.created"))

    def watches(self) -> tuple[Watch, ...]:
        """Who watches over each active run: every face asks for it at its start, so it is little."""
        with self._database.read() as db:
            rows = db.execute(f"SELECT space_id, created, shim FROM runs WHERE {_IS_ACTIVE} ORDER BY created", _ACTIVE)
            return tuple(map(read_watch, rows))

    def run(self, space_id: str) -> Run:
        """Raises UnknownSpace."""
        with self._database.read() as db:
            row = db.execute(RUNS + " WHERE spaces.id = ?", (space_id,)).fetchone()
        if row is None:
            self.space(space_id)
            raise UnknownSpace(f"{space_id} was never started.", hint="Start it with spaces-runner run.")
        return read_run(row)

    def record(self, run_id: str, event: Event, changes: Mapping[str, Any] | None = None) -> None:
        """Append an event and set columns of its run with it. An active run's end frees its leases and ports.

        `changes`: names of `records.RUN_COLUMNS` to plain values, enums or dataclasses.
        """
        with self._database.change() as db:
            _append(db, run_id, event)
            self._update(db, run_id, changes or {})

    def update(self, run_id: str, changes: Mapping[str, Any]) -> None:
        """Set columns of a run without an event."""
        with self._database.change() as db:
            self._update(db, run_id, changes)

    def attach(self, run_id: str, shim: Identity) -> bool:
        """Write down the shim of a run. False where the run was ended meanwhile."""
        with self._database.change() as db:
            changed = db.execute(
                f"UPDATE runs SET shim = ? WHERE id = ? AND {_IS_ACTIVE}", (_plain(shim), run_id, *_ACTIVE)
            )
            return changed.rowcount == 1

    def end_lost(self, run_id: str, events: Sequence[Event], changes: Mapping[str, Any]) -> bool:
        """`record`, for a run that is still active only. False where somebody else ended it."""
        with self._database.change() as db:
            found = db.execute(f"SELECT 1 FROM runs WHERE id = ? AND {_IS_ACTIVE}", (run_id, *_ACTIVE)).fetchone()
            if found is None:
                return False
            for event in events:
                _append(db, run_id, event)
            self._update(db, run_id, changes)
            return True

    def events(self, run_id: str, since: int = 0) -> tuple[tuple[int, Event], ...]:
        """The events of a run after number `since`, with their numbers, in order."""
        with self._database.read() as db:
            rows = db.execute("SELECT seq, data FROM events WHERE run_id = ? AND seq > ? ORDER BY seq",
                                    (run_id, since)).fetchall()  # fmt: skip
        return tuple((row["seq"], decode_event(json.loads(row["data"]))) for row in rows)

    # Leases

    def lease(self, run_id: str, choose: Callable[[Mapping[str, int]], str | None]) -> str | None:
        """Lease what `choose` picks, given how many runs hold each GPU (by UUID). None leases nothing."""
        with self._database.change() as db:
            rows = db.execute("SELECT gpu, COUNT(*) AS held FROM leases WHERE run_id != ? GROUP BY gpu", (run_id,))
            chosen = choose({row["gpu"]: row["held"] for row in rows})
            db.execute("DELETE FROM leases WHERE run_id = ?", (run_id,))
            if chosen is not None:
                db.execute("INSERT INTO leases (run_id, gpu) VALUES (?, ?)", (run_id, chosen))
            return chosen

    def hold(self, run_id: str, size: int) -> None:
        """Write down how many bytes of its GPU a run holds, or was promised. Without a lease nothing changes."""
        with self._database.change() as db:
            db.execute("UPDATE leases SET bytes = ? WHERE run_id = ?", (size, run_id))

    def neighbours(self, run_id: str) -> tuple[Claim, ...]:
        """What the other runs on the GPU of this one claim of it."""
        with self._database.read() as db:
            rows = db.execute(
                "SELECT others.run_id, others.bytes, runs.stage FROM leases AS own "
                "JOIN leases AS others ON others.gpu = own.gpu AND others.run_id != own.run_id "
                "JOIN runs ON runs.id = others.run_id WHERE own.run_id = ?",
                (run_id,),
            ).fetchall()
        return tuple(Claim(run_id=row["run_id"], stage=Stage(row["stage"]), size=row["bytes"]) for row in rows)

    def claim_ports(self, run_id: str, is_free: Callable[[int], bool], size: int = 10) -> range:
        """`size` neighbouring free ports: those that the Space had last, or some that no run had in the last minute.

        Raises PortTaken where there are none.
        """
        with self._database.change() as db:
            return blocks.claim(db, run_id, self._settings.port_base, is_free, size)

    def release_ports(self, run_id: str) -> None:
        """Give the run's ports back; they rest before another Space gets them."""
        with self._database.change() as db:
            blocks.release(db, run_id)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._database.close()

    # Inside

    def _active_run(self, db: sqlite3.Connection, space_id: str) -> str | None:
        row = db.execute(f"SELECT id FROM runs WHERE space_id = ? AND {_IS_ACTIVE}", (space_id, *_ACTIVE)).fetchone()
        return str(row["id"]) if row else None

    def _add_space(self, db: sqlite3.Connection, ref: SpaceRef, name: str | None) -> Space:
        taken = {row["id"]: row["slot"] for row in db.execute("SELECT id, slot FROM spaces")}
        space = Space(
            id=_free_id(name or "-".join(part for part in (ref.owner, ref.name) if part), taken),
            ref=ref,
            name=name or None,
            options=RunOptions(),
            slot=_free_slot(db, set(taken.values()), self._settings),
            stopping=False,
        )
        db.execute(
            "INSERT INTO spaces (id, kind, source, name, revision, options, slot, created) VALUES (?,?,?,?,?,?,?,?)",
            (space.id, ref.kind, ref.source, name or "", ref.revision, "{}", space.slot, time.time()),
        )
        return space

    def _add_run(self, db: sqlite3.Connection, space: Space) -> str:
        self._drop_runs(db, space.id)
        run_id = uuid.uuid4().hex
        db.execute(
            "INSERT INTO runs (id, space_id, stage, created) VALUES (?, ?, ?, ?)",
            (run_id, space.id, Stage.BUILDING.value, time.time()),
        )
        return run_id

    def _drop_runs(self, db: sqlite3.Connection, space_id: str) -> None:
        for row in db.execute("SELECT id FROM runs WHERE space_id = ?", (space_id,)).fetchall():
            _free(db, row["id"])
            db.execute("DELETE FROM events WHERE run_id = ?", (row["id"],))
        db.execute("DELETE FROM runs WHERE space_id = ?", (space_id,))

    def _update(self, db: sqlite3.Connection, run_id: str, changes: Mapping[str, Any]) -> None:
        if unknown := set(changes) - set(RUN_COLUMNS):
            raise ValueError(f"runs have no columns {sorted(unknown)}")
        for name, value in changes.items():
            db.execute(f"UPDATE runs SET {name} = ? WHERE id = ?", (_plain(value), run_id))
        if (stage := changes.get("stage")) is not None and not Stage(stage).active:
            _free(db, run_id)


def _plain(value: Any) -> Any:
    encoded = encode(value)
    return json.dumps(encoded) if isinstance(encoded, dict | list) else encoded


def _counter(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
    return int(row["value"]) if row else 0


def _set_counter(db: sqlite3.Connection, name: str, value: int) -> None:
    db.execute("INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", (name, value))


def _append(db: sqlite3.Connection, run_id: str, event: Event) -> None:
    data = encode_event(event)
    kind, step = data["kind"], str(data.get("step") or "")
    if isinstance(event, Progress):  # the newest is all that anyone wants to see
        db.execute("DELETE FROM events WHERE run_id = ? AND kind = ? AND step = ?", (run_id, kind, step))
    row = (run_id, kind, step, json.dumps(data))
    db.execute("INSERT INTO events (run_id, kind, step, data) VALUES (?, ?, ?, ?)", row)


def _free(db: sqlite3.Connection, run_id: str) -> None:
    db.execute("DELETE FROM leases WHERE run_id = ?", (run_id,))
    blocks.release(db, run_id)


def _free_id(text: str, taken: Mapping[str, int]) -> str:
    base = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:ID_CHARS].strip("-") or "space"
    found, number = base, 2
    while found in taken:
        suffix = f"-{number}"
        found, number = base[: ID_CHARS - len(suffix)].rstrip("-") + suffix, number + 1
    return found


def _free_slot(db: sqlite3.Connection, taken: set[int], settings: Settings) -> int:
    """The next number nobody has. It goes round, so that a new Space does not meet what the last one left in /tmp.

    Each state directory begins elsewhere, and passes by users that have processes: two directories on one machine
    must not give the same user to two Spaces, since stopping one ends all processes of its user.
    """
    begin = zlib.crc32(settings.home.encode()) % USER_SLOTS
    used = {uid - settings.uid_base for uid in users_at_work()} if os.geteuid() == 0 else set()
    cursor = _counter(db, "slot_cursor")
    for step in range(cursor, cursor + USER_SLOTS):
        slot = (begin + step) % USER_SLOTS
        if slot not in taken and slot not in used:
            _set_counter(db, "slot_cursor", (step + 1) % USER_SLOTS)
            return slot
    raise StateError("Every user for Spaces is taken.", hint="Remove Spaces that are not needed: spaces-runner rm.")
