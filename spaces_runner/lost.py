"""Runs whose shim is gone: told, ended with all that is left of them, and written down as ended."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

from spaces_runner.containers import remove
from spaces_runner.containers.engine import read_mark
from spaces_runner.errors import ShimLost, UnknownSpace
from spaces_runner.process import Family
from spaces_runner.settings import Settings
from spaces_runner.spawn import REGISTER_S
from spaces_runner.store import Store
from spaces_runner.store.records import Run, Watch
from spaces_runner.types import ErrorInfo, Event, Failed, Stage, StageChanged


def sweep(store: Store, settings: Settings) -> tuple[str, ...]:
    """End all of them. Returns the ids of their Spaces. Costs a fraction of a millisecond where there are none."""
    found = [watch.space_id for watch in store.watches() if is_lost(watch)]
    return tuple(space_id for space_id in found if _end_if_lost(space_id, store, settings))


def _end_if_lost(space_id: str, store: Store, settings: Settings) -> bool:
    """False where another face was faster: it has ended the run, started the next one, or forgotten the Space."""
    try:
        run = store.run(space_id)
    except UnknownSpace:
        return False
    if not run.status.stage.active or not is_lost(run):
        return False
    end(run, store, settings)
    return True


def is_lost(run: Run | Watch) -> bool:
    """Whether nobody watches over an active run."""
    if run.shim is None:  # not registered yet, or the face that was about to start it died
        return abs(time.time() - run.created) > REGISTER_S + 5  # one of the future is of a clock that was set back
    return not run.shim.alive


def end(run: Run, store: Store, settings: Settings, *, in_haste: bool = False) -> None:
    """End the family by user and by run mark, and its container by its label, and give back what the run held.

    `in_haste`: it was asked to end long ago. Else it has two seconds before it is killed.
    """
    roots = (run.app,) if run.app else ()
    family = Family(mark=run.id, user=store.user(run.space), roots=roots)
    if in_haste:
        family.end(0.5, kill_s=1.0)
    else:
        family.end(min(2.0, settings.stop_grace_s))
    if (engine := read_mark(settings.space(run.space.id).engine_mark, settings)) is not None:
        remove.sweep(engine, run.id)
    error = None if store.run(run.space.id).space.stopping else _error(run)
    close(run.id, error, store)
    shutil.rmtree(settings.space(run.space.id).build, ignore_errors=True)


def close(run_id: str, error: ErrorInfo | None, store: Store) -> None:
    """Write down the end of a run that no shim writes down: in `error`, or stopped."""
    now = time.time()
    stage = error.stage if error else Stage.STOPPED
    changes = {"stage": stage, "ended": now, "step": None, "local_url": None, "share_url": None}
    if error is None:
        store.end_lost(run_id, [StageChanged(at=now, stage=stage)], changes)
    else:
        said: list[Event] = [Failed(at=now, error=error), StageChanged(at=now, stage=stage)]
        store.end_lost(run_id, said, {**changes, "error": error})


def _error(run: Run) -> ErrorInfo:
    lost = ShimLost(
        "The process that watched over the Space was killed, and the Space was ended with it.",
        hint="Start it again with spaces-runner restart.",
    )
    if run.status.stage is not Stage.BUILDING:
        return lost.info
    return replace(lost.info, stage=Stage.BUILD_ERROR, step=run.status.step)
