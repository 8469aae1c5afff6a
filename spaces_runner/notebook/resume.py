"""Takes over the state of the last machine, and starts again what ran there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from spaces_runner import control, looking
from spaces_runner.errors import RunnerError
from spaces_runner.notebook.snapshot import Snapshot
from spaces_runner.settings import Settings
from spaces_runner.store import opened
from spaces_runner.store.records import Run
from spaces_runner.types import RefKind, SpaceRef

Say = Callable[[str], None]


def resume(snapshot: Snapshot, ordered: SpaceRef, settings: Settings, say: Say) -> None:
    """Where this machine has no state yet. What the cell orders is left to it: it has today's options and secrets."""
    try:
        if not snapshot.restore():
            return
    except (OSError, sqlite3.Error) as error:
        say(f"The state of the last machine, {snapshot.kept}, cannot be used: {error}. This machine begins anew.")
        return
    runs = [run for run in opened(settings).runs() if run.space.ref.kind is not RefKind.CORE]
    say(f"Went on from {snapshot.kept}: the Spaces of the last machine are known ({len(runs)}).")
    looking.sweep(settings)
    for run in runs:
        if _ran(run) and not same(run.space.ref, ordered):
            _restart(run, settings, say)


def same(one: SpaceRef, other: SpaceRef) -> bool:
    """Whether they name one Space, at whatever revision."""
    return (one.kind, one.source) == (other.kind, other.source)


def _ran(run: Run) -> bool:
    return run.status.stage.active and not run.space.stopping


def _restart(run: Run, settings: Settings, say: Say) -> None:
    try:
        control.restart(run.space.id, settings)
    except RunnerError as error:
        say(f"{run.status.space} ran there, and is not started again: {error.message} {error.hint}")
    else:
        say(f"{run.status.space} ran there, and is being started again.")
    if run.space.options.secret_names:
        say(f"  Its secrets are not kept: {', '.join(run.space.options.secret_names)}. Start it anew to give them.")
