"""Ends a Space with its whole family, or its build."""

from __future__ import annotations

import signal
import time

from spaces_runner import lost
from spaces_runner.process import Identity
from spaces_runner.settings import Settings
from spaces_runner.store import Store, opened
from spaces_runner.store.records import Run
from spaces_runner.types import SpaceStatus

POLL_S = 0.1
ATTACH_S = 5.0  # for a stop to wait for a shim that is just being started
STOP_S = 15.0  # in which a stop has ended everything that can be ended, whatever it meets
SHIM_KILLED_S = 2.5  # of these, for a shim that hangs to be killed, and for what it leaves behind to be ended


def stop(space_id: str, settings: Settings) -> SpaceStatus:
    """End a Space with its whole family, or its build; returns when it has ended, within STOP_S seconds.

    Its shim does it. One that hangs is killed in time for the rest to be done from here.
    """
    latest = time.monotonic() + STOP_S - SHIM_KILLED_S
    store = opened(settings)
    store.space(space_id)
    store.ask_stop(space_id)
    run = _registered(space_id, store)
    if run.status.stage.active and run.shim is not None:
        patience = min(settings.stop_grace_s + SHIM_KILLED_S, latest - time.monotonic())
        killed = not _let_end(run.shim, patience)
        run = store.run(space_id)
    else:
        killed = False
    if run.status.stage.active:
        lost.end(run, store, settings, in_haste=killed)
    lost.sweep(store, settings)
    return store.run(space_id).status


def _let_end(shim: Identity, patience_s: float) -> bool:
    """Whether a shim ended when it was asked to; one that did not is killed, and its app dies with it."""
    if not shim.signal(signal.SIGTERM):
        return True
    shim.signal(signal.SIGCONT)  # a stopped one would not hear the first
    if shim.wait(patience_s):
        return True
    shim.signal(signal.SIGKILL)
    shim.wait(0.5)
    return False


def _registered(space_id: str, store: Store) -> Run:
    """The current run with its shim; one that is just being started is waited for."""
    deadline = time.monotonic() + ATTACH_S
    run = store.run(space_id)
    while run.status.stage.active and run.shim is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
        run = store.run(space_id)
    return run
