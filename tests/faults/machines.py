"""The whole machine: shut down with time to end, cut off without any, and started again."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing

from spaces_runner.process import identify
from spaces_runner.types import Stage, Step
from tests.faults.census import at_work, family
from tests.faults.kills import held_in
from tests.faults.world import World, wait


def shut_down(world: World) -> None:
    """One serves, and one is being built."""
    serving = world.launch()
    building = held_in(world.random.choice((Step.CLONE, Step.LFS, Step.ENVIRONMENT)), world, "o/other")
    everybody(world, signal.SIGTERM)
    for space_id in (serving, building):
        assert world.look(space_id) is Stage.STOPPED
        world.is_started_again(space_id)


def power_cut(world: World) -> None:
    """All are gone at once, and after the boot their process numbers are other programs'."""
    space_id = world.launch()
    everybody(world, signal.SIGKILL)
    with closing(sqlite3.connect(world.settings.database, isolation_level=None)) as db:
        db.execute("UPDATE runs SET shim = json_set(shim, '$.boot', 'before', '$.pid', 1)")
    status = world.until(space_id, Stage.RUNTIME_ERROR, timeout=5).status
    assert status.error is not None
    assert status.error.code == "shim_lost"
    world.is_started_again(space_id)


def everybody(world: World, number: int) -> None:
    """The signal to all processes of the runner and its Spaces, in no order, until they have ended."""
    pids = [pid for run in at_work(world.settings) for pid in family(run)]
    world.random.shuffle(pids)
    all_of_them = [found for pid in pids if (found := identify(pid))]
    for one in all_of_them:
        one.signal(number)
    wait(lambda: not any(one.alive for one in all_of_them), "somebody does not end", 15)
