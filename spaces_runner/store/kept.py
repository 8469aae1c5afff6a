"""One open store for each state directory of a process: opening a database costs more than looking into it."""

from __future__ import annotations

from functools import lru_cache

from spaces_runner.settings import Settings
from spaces_runner.store.store import Store


def opened(settings: Settings) -> Store:
    """The store of a state directory, kept open; threads may share it. Raises StateError."""
    store = _kept(settings)
    store.check()
    return store


@lru_cache(maxsize=4)
def _kept(settings: Settings) -> Store:
    return Store(settings)
