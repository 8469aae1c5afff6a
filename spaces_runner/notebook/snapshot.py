"""A copy of the state database where the platform keeps it, and the database made from it on the next machine.

The copy is whole at any moment: it is made on the local disk, carried over under another name, and then put in place.
No secret is in it, for none is in the database.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from spaces_runner.settings import Settings


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """Of the database of `settings`, in the file `kept`. Knows what it saved last, to write only what is new."""

    kept: Path
    settings: Settings
    _saved: str = field(default="", init=False)

    def restore(self) -> bool:
        """Whether the database was made from the copy. One that stands is left alone. Raises OSError, sqlite3.Error.

        A copy that is damaged is put aside, and then this raises sqlite3.DatabaseError.
        """
        if self.settings.database.exists() or not self.kept.is_file():
            return False
        part = self._part(self.settings.database)
        shutil.copyfile(self.kept, part)
        part.chmod(0o600)
        try:
            _check(part)
        except sqlite3.DatabaseError:
            part.unlink()
            self.kept.replace(self.kept.with_suffix(".damaged"))
            raise
        part.replace(self.settings.database)
        return True

    def save(self) -> bool:
        """Whether there was anything new to write. Raises OSError, sqlite3.Error."""
        part = self._part(self.settings.database)
        try:
            _copy(self.settings.database, part)
            digest = hashlib.sha256(part.read_bytes()).hexdigest()
            if digest == self._saved:
                return False
            self.kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            carried = self._part(self.kept)
            shutil.copyfile(part, carried)
            carried.chmod(0o600)
            carried.replace(self.kept)
        finally:
            part.unlink(missing_ok=True)
        self._saved = digest
        return True

    def _part(self, beside: Path) -> Path:
        return beside.with_name(f".{beside.name}.{os.getpid()}")


def _copy(database: Path, target: Path) -> None:
    """While others write: SQLite's own way, and a file without a log beside it."""
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(database, timeout=20)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")


def _check(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        said = db.execute("PRAGMA integrity_check").fetchone()[0]
    if said != "ok":
        raise sqlite3.DatabaseError(said)
