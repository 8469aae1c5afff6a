"""The state database: one SQLite file, its tables, and transactions. Knows no meaning of what is in it.

Several faces and shims use the file at once. Every change is one transaction, on disk before it returns.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from spaces_runner.errors import StateError, StateFull, StateTooNew
from spaces_runner.settings import Settings
from spaces_runner.store.connections import Connections, identity

VERSION = 4

SCHEMA = (
    """CREATE TABLE spaces (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL, revision TEXT,
        options TEXT NOT NULL, slot INTEGER NOT NULL UNIQUE, created REAL NOT NULL,
        stopping INTEGER NOT NULL DEFAULT 0, tail TEXT NOT NULL DEFAULT '', UNIQUE (kind, source, name))""",
    """CREATE TABLE runs (
        id TEXT PRIMARY KEY, space_id TEXT NOT NULL UNIQUE REFERENCES spaces (id), created REAL NOT NULL,
        stage TEXT NOT NULL, step TEXT, commit_id TEXT, local_url TEXT, share_url TEXT, gpu TEXT,
        ready REAL, ended REAL, shim TEXT, app TEXT, exit_code INTEGER, restarts INTEGER NOT NULL DEFAULT 0,
        error TEXT, findings TEXT NOT NULL DEFAULT '[]', diff TEXT NOT NULL DEFAULT '')""",
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, kind TEXT NOT NULL, step TEXT NOT NULL,
        data TEXT NOT NULL)""",
    "CREATE INDEX events_of_run ON events (run_id, seq)",
    "CREATE TABLE leases (run_id TEXT PRIMARY KEY, gpu TEXT NOT NULL, bytes INTEGER NOT NULL DEFAULT 0)",
    """CREATE TABLE ports (
        first INTEGER PRIMARY KEY, size INTEGER NOT NULL, run_id TEXT NOT NULL, released REAL,
        space_id TEXT NOT NULL DEFAULT '')""",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
)

# What makes a database of each older version one of the next.
UPGRADES = {
    1: "ALTER TABLE leases ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0",
    2: "ALTER TABLE spaces ADD COLUMN tail TEXT NOT NULL DEFAULT ''",
    3: "ALTER TABLE ports ADD COLUMN space_id TEXT NOT NULL DEFAULT ''",
}


class Database:
    """May be shared by threads: each transaction has a connection to itself."""

    def __init__(self, settings: Settings) -> None:
        """Opens the database, and makes it where there is none. Raises StateError."""
        self._settings = settings
        self._connections: Connections | None = None
        with self._errors():
            self._prepare()

    def check(self) -> None:
        """Whether what was opened is still what is to be used: another file may have its place, or a newer version.

        Costs a twentieth of opening it again. Raises StateError.
        """
        with self._errors():
            self._prepare()

    def stands(self) -> bool:
        """Whether the file that was opened is where it was: neither moved away nor replaced."""
        try:
            return self._connections is None or self._connections.file == identity(self._settings.database)
        except OSError:
            return False

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection to look with. Raises StateError."""
        with self._errors(), self._open().lend() as db:
            yield db

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction that writes; nobody else writes meanwhile. Raises StateError."""
        with self._errors(), self._open().lend() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def close(self) -> None:
        """Close the connections that nobody uses."""
        if self._connections is not None:
            self._connections.close()

    def _open(self) -> Connections:
        found = self._connections
        if found is None:
            found = self._connections = Connections(self._settings.database)
        return found

    def _prepare(self) -> None:
        self._settings.home_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not self._settings.database.exists():
            self._make()
        if self._open().file != identity(self._settings.database):
            self._connections = None
        with self._open().lend() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StateTooNew(
                f"{self._settings.database} was written by a newer version of Spaces Runner.",
                hint="Update this one, or set SPACES_RUNNER_HOME to another directory.",
            )
        if version < VERSION:
            self._upgrade()

    def _upgrade(self) -> None:
        with self._open().lend() as db:
            db.execute("PRAGMA journal_mode = WAL")
        with self.change() as db:
            found = db.execute("PRAGMA user_version").fetchone()[0]  # under the lock: another may have been first
            for statement in SCHEMA if found == 0 else [UPGRADES[version] for version in range(found, VERSION)]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")

    def _make(self) -> None:
        """An empty file that is closed to others.

        Made beside and linked, never opened in its place: closing a file gives up all locks that the process has on it,
        those of other connections too (https://www.sqlite.org/howtocorrupt.html, 2.2).
        """
        database = self._settings.database
        part = database.with_name(f".{database.name}.{uuid.uuid4().hex}")
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            database.hardlink_to(part)
        except FileExistsError:
            return  # another was first
        finally:
            part.unlink()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        database = self._settings.database
        try:
            yield
        except sqlite3.DatabaseError as error:
            kind = StateFull if _is_full(error) else StateError
            raise kind(f"The state database {database} cannot be used: {error}.", hint=_advice(error)) from error
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise StateError(
                f"The state directory {database.parent} cannot be used: {error.strerror}.",
                hint="Set SPACES_RUNNER_HOME to a directory that you may write.",
            ) from error


def _is_full(error: sqlite3.DatabaseError) -> bool:
    return _code(error) == sqlite3.SQLITE_FULL


def _advice(error: sqlite3.DatabaseError) -> str:
    """Only of a file that is broken, or none of ours, is it said that it is to go."""
    if "locked" in str(error):
        return "Another program holds it for long. Try again; SPACES_RUNNER_HOME must be on a local disk."
    if _is_full(error):
        return "Free some disk space: spaces-runner prune removes what no Space uses."
    if _code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return "Its directory must be writable: is its disk mounted read-only? SPACES_RUNNER_HOME names another one."
    if _code(error) == sqlite3.SQLITE_IOERR:
        return "Its disk does not read or write: dmesg tells more. SPACES_RUNNER_HOME names another directory."
    return "Stop what runs, move the file away and start again; Spaces then have to be pasted anew."


def _code(error: sqlite3.DatabaseError) -> int | None:
    """The kind of SQLite's error (https://www.sqlite.org/rescode.html); Python's own errors have none."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
