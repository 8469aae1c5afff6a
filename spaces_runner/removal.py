"""Forgets Spaces: those the owner removes, and those that never were.

A Space that the origin does not have, or does not show, leaves a failed row that nobody can do anything with. It is
kept until a face has said why it failed.
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress

from spaces_runner import secrets
from spaces_runner.containers.engine import read_mark
from spaces_runner.containers.remove import forget
from spaces_runner.errors import (
    AccessDenied,
    FolderNotFound,
    RefError,
    RevisionNotFound,
    SpaceBusy,
    SpaceNotFound,
    UnknownSpace,
)
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import RefKind, SpaceStatus

SHIM_END_S = 3.0  # for a shim to end after its last word
_NOT_THERE = frozenset(
    error.code for error in (RefError, SpaceNotFound, AccessDenied, RevisionNotFound, FolderNotFound)
)


def discard(space_id: str, store: Store, settings: Settings) -> None:
    """Forget a Space with its files, logs, data, secrets, tokens and images. Raises SpaceBusy while it is at work."""
    from spaces_runner.core.keys import revoke  # the core's package is built on the module that calls this

    # Moved aside while nobody can start it, then deleted: its name and its user are free at once, its files are not.
    trash = settings.home_dir / "trash"
    trash.mkdir(mode=0o700, exist_ok=True)
    aside = trash / uuid.uuid4().hex

    def move() -> None:
        with suppress(FileNotFoundError):
            settings.space(space_id).root.rename(aside)
        revoke(settings, secrets.read(settings, space_id).values())
        secrets.remove(settings, space_id)

    engine = read_mark(settings.space(space_id).engine_mark, settings)
    store.forget(space_id, move)
    shutil.rmtree(aside, ignore_errors=True)
    if engine is not None:
        forget(engine, space_id, settings)


def never_was(status: SpaceStatus, settings: Settings) -> bool:
    """Whether there was nothing to fetch under what was asked for, and never had been."""
    return (
        status.error is not None
        and status.error.code in _NOT_THERE
        and not status.stage.active
        and not settings.space(status.id).app.exists()
    )


def forget_if_never_was(status: SpaceStatus, store: Store, settings: Settings) -> bool:
    """Forget a Space that failed so, now that `status` was shown. False where there is more to it, or it was started.

    Its shim is let end before, so that it finds its rooms until then.
    """
    try:
        run = store.run(status.id)
        if run.status != status or run.space.ref.kind is RefKind.CORE or not never_was(status, settings):
            return False
        if run.shim is not None:
            run.shim.wait(SHIM_END_S)
        discard(status.id, store, settings)
    except (UnknownSpace, SpaceBusy):  # another face was faster
        return False
    return True
