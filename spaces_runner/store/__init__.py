"""What the runner remembers, in one SQLite file. Standard library only: every shim holds one."""

from spaces_runner.store.kept import opened
from spaces_runner.store.store import ID_CHARS, USER_SLOTS, Store

__all__ = ["ID_CHARS", "USER_SLOTS", "Store", "opened"]
