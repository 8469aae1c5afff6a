"""Apps that take what they can, and will not go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from spaces_runner import control, looking
from spaces_runner.ref import parse
from spaces_runner.types import RunOptions, Stage
from tests.faults import programs
from tests.faults.census import family, words
from tests.faults.world import Acknowledged, World, wait

FIFTY = 50
LIMIT_BYTES = 120 * 1024**2
CGROUP = Path("/sys/fs/cgroup/memory")


def nasty(world: World) -> None:
    """Deaf to TERM, with daemons of its own, printing as fast as it can: it is logged, answered for and stopped."""
    space_id = world.launch(programs.NASTY)
    run = world.run(space_id)
    assert len(family(run)) >= 4
    log = world.settings.space(space_id).run_log
    wait(lambda: any("spew" in line for line in world.log(space_id)), "nothing is logged")
    time.sleep(world.random.uniform(0.0, 1.0))
    assert sum(path.stat().st_size for path in log.parent.glob("run.log*")) < 10 * world.settings.log_bytes
    world.stop(space_id)
    world.publish()
    world.is_started_again(space_id)


def fifty_launches(world: World) -> None:
    """At once, of one Space: one of them builds it, and all are told the same."""
    world.publish()
    options, values = RunOptions(share=False), {"KEY": world.secret}
    request = control.Request(ref=parse("o/app", world.settings), options=options, secrets=values)
    with ThreadPoolExecutor(FIFTY) as pool:
        started = list(pool.map(lambda _: control.start(request, world.settings), range(FIFTY)))
    assert [one.fresh for one in started].count(True) == 1
    [space_id] = {one.id for one in started}
    world.acknowledged[space_id] = Acknowledged(ref=request.ref, options=options, secrets=values)
    world.until(space_id, Stage.RUNNING)
    assert len(looking.statuses(world.settings)) == 1
    shims = [pid for pid in family(world.run(space_id)) if "spaces_runner.shim" in words(pid)]
    assert len(shims) == 1
    assert world.hub.served("git-pack").requests <= 2, "it was fetched once"


def out_of_memory(world: World) -> None:
    """The kernel's own killer, in a control group that holds the shim and what it starts."""
    world.publish(programs.GREEDY)
    space_id = world.start()
    with limited(world) as group:
        shim = world.run(space_id).shim
        assert shim is not None
        for pid in family(world.run(space_id)):
            (group / "cgroup.procs").write_text(str(pid))
        status = world.until(space_id, Stage.RUNTIME_ERROR).status
        assert status.error is not None
        assert status.exit_code == 128 + 9, status
        assert "memory" in f"{status.error.message} {status.error.hint}", status.error
        world.publish()
        world.is_started_again(space_id)


@contextmanager
def limited(world: World) -> Iterator[Path]:
    """A control group with little memory; version 1 and root only, as here."""
    group = CGROUP / f"sr-{world.home.name}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    except OSError as error:
        pytest.skip(f"no control group of memory can be made here: {error}")
    try:
        yield group
    finally:
        parent = CGROUP / "cgroup.procs"
        for pid in (group / "cgroup.procs").read_text().split():
            parent.write_text(pid)
        group.rmdir()
