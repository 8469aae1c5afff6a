"""What a face asks of Spaces: what they are, what they tell, what they log. What lost its shim is ended on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from spaces_runner import logfile, lost
from spaces_runner.errors import UnknownSpace
from spaces_runner.settings import Settings
from spaces_runner.store import Store, opened
from spaces_runner.store.records import Run
from spaces_runner.types import Event, RefKind, SpaceStatus, Stage

POLL_S = 0.1
LIVENESS_EVERY_S = 1.0


def status(space_id: str, settings: Settings) -> SpaceStatus:
    """What it is now; one that lost its shim is ended first. Raises UnknownSpace."""
    return swept(settings).run(space_id).status


def statuses(settings: Settings) -> tuple[SpaceStatus, ...]:
    """Every Space's, oldest first. What lost its shim is swept before."""
    return tuple(run.status for run in swept(settings).runs() if run.space.ref.kind is not RefKind.CORE)


def events(space_id: str, settings: Settings, since: int = 0) -> tuple[tuple[int, Event], ...]:
    """The numbered events of the current run after number `since`."""
    store = swept(settings)
    return store.events(store.run(space_id).id, since)


def wait(space_id: str, settings: Settings, timeout: float | None = None) -> SpaceStatus:
    """Until it is RUNNING or not at work any more; at most `timeout` seconds. Returns what it is then."""
    store = swept(settings)
    for run in _looks(space_id, store, settings, timeout):
        if run.status.stage is Stage.RUNNING or not run.status.stage.active:
            break
    return run.status


def follow(space_id: str, settings: Settings, timeout: float | None = None) -> Iterator[Event]:
    """The events of the current run from its start, until it is RUNNING or has ended, at most `timeout` seconds."""
    store = swept(settings)
    first, last = store.run(space_id).id, 0
    for run in _looks(space_id, store, settings, timeout):
        if run.id != first:
            return
        for number, event in store.events(first, last):
            yield event
            last = number
        if run.status.stage is Stage.RUNNING or not run.status.stage.active:
            return


def log_tail(space_id: str, settings: Settings, which: str = "run", lines: int = 200) -> list[str]:
    """The last lines of the "run" or the "build" log, as harmless text."""
    return logfile.tail(_log(space_id, settings, which), lines)


def log_follow(space_id: str, settings: Settings, which: str = "run", tail: int = 0) -> Iterator[str]:
    """The last `tail` lines and what is logged from then on, until the Space ends; the build log, until it is built."""
    store = opened(settings)
    first = store.run(space_id)
    ends = {Stage.BUILDING} if which == "build" else {stage for stage in Stage if stage.active}

    def going() -> bool:
        try:
            run = store.run(space_id)
        except UnknownSpace:
            return False
        return run.id == first.id and run.status.stage in ends and (run.shim is None or run.shim.alive)

    return logfile.follow(_log(space_id, settings, which), going=going, before=tail)


def patch_diff(space_id: str, settings: Settings) -> str:
    """What was changed in the Space's source, as a unified diff; "" where nothing was."""
    return swept(settings).run(space_id).diff


def find(text: str, settings: Settings) -> str:
    """The id of the Space that `text` means: an id, or what it was started as. Raises UnknownSpace, AmbiguousSpace."""
    from spaces_runner import naming  # only the verbs that name a Space need it

    spaces = [space for space in opened(settings).spaces() if space.ref.kind is not RefKind.CORE]
    return naming.find(text, spaces, settings)


def sweep(settings: Settings) -> tuple[str, ...]:
    """End what is left of Spaces whose shim is gone. Returns their ids.

    Every verb of the command line and the page do this at their start, and so does each function here that is asked for
    a Space, which is how a handle does it.
    """
    return lost.sweep(opened(settings), settings)


def swept(settings: Settings) -> Store:
    """The store, once what had lost its shim has been ended."""
    store = opened(settings)
    lost.sweep(store, settings)
    return store


def _looks(space_id: str, store: Store, settings: Settings, timeout: float | None) -> Iterator[Run]:
    """The current run, again and again. One whose shim is gone is swept on the way, so that it ends."""
    deadline = None if timeout is None else time.monotonic() + timeout
    check = time.monotonic()
    while True:
        now = time.monotonic()
        if now >= check:
            check = now + LIVENESS_EVERY_S
            run = _current(space_id, store, settings)
        else:
            run = store.run(space_id)
        yield run
        if deadline is not None and now >= deadline:
            return
        time.sleep(POLL_S)


def _current(space_id: str, store: Store, settings: Settings) -> Run:
    """The current run; one whose shim is gone is ended first."""
    run = store.run(space_id)
    if run.status.stage.active and lost.is_lost(run):
        lost.end(run, store, settings)
        run = store.run(space_id)
    return run


def _log(space_id: str, settings: Settings, which: str) -> Path:
    swept(settings).space(space_id)
    dirs = settings.space(space_id)
    return dirs.build_log if which == "build" else dirs.run_log
