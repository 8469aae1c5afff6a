"""Open connections to one SQLite file, lent one user at a time and kept for the next.

Not one a thread: threads come and go, and SQLite cannot close the file of a connection that ends while another one
of the process holds a lock (https://www.sqlite.org/src/file/src/os_unix.c, setPendingFd), so each would leave a
descriptor behind.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BUSY_S = 20.0  # for other writers


class _Connection(sqlite3.Connection):
    """Closes itself when nobody holds it any more: Python 3.13 warns about one that was not closed."""

    def __del__(self) -> None:
        self.close()


class Connections:
    """May be shared by threads. There are as many connections as there were users at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        self._keep(self._connect())
        self.file = identity(path)

    @contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        """A connection for this user alone. One that failed is closed. Raises sqlite3.DatabaseError."""
        with self._lock:
            db = self._idle.pop() if self._idle else None
        db = db or self._connect()
        try:
            yield db
        except sqlite3.DatabaseError:
            db.close()
            raise
        except BaseException:
            self._keep(db)
            raise
        self._keep(db)

    def close(self) -> None:
        """Close those that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    def _keep(self, db: _Connection) -> None:
        with self._lock:
            self._idle.append(db)

    def _connect(self) -> _Connection:
        db = sqlite3.connect(
            self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA cache_size = -512")  # KiB; shims are many and must stay small
        return db


def identity(path: Path) -> tuple[int, int]:
    """Which file stands there: its device and inode. Raises OSError."""
    status = path.stat()
    return status.st_dev, status.st_ino
