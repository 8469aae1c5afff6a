"""kill -9 of everything that has a process, in each stage that it lives through."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

from spaces_runner.process import Identity, identify
from spaces_runner.types import Stage, Step
from tests.faults import programs
from tests.faults.census import family, words
from tests.faults.world import World, gone, wait
from tests.support.cli import ending
from tests.support.hub_faults import Fault

CUT = 600  # bytes of a body, after which a transfer is silent


def held_in(step: Step, world: World, name: str = "o/app") -> str:
    """A Space whose build does not get past `step` until it is let."""
    world.publish(name=name, data="large" * 1000, lfs=("data",))
    route = {Step.CLONE: "git-pack", Step.LFS: "lfs-object", Step.ENVIRONMENT: "wheel"}[step]
    fault = Fault(route=route, times=99, stall_after=CUT, stall_s=5.0)
    (world.index if step is Step.ENVIRONMENT else world.hub).misbehave(fault)
    space_id = world.start(name)
    world.until_step(space_id, step)
    time.sleep(world.random.uniform(0.0, 0.8))  # somewhere in it
    return space_id


def killed(identity: Identity | None) -> None:
    assert identity is not None
    assert identity.signal(signal.SIGKILL)
    gone(identity)


def app_starting(world: World) -> None:
    world.publish(programs.SLOW)
    space_id = world.start()
    world.until(space_id, Stage.APP_STARTING)
    wait(lambda: world.run(space_id).app, "the app is never started")
    time.sleep(world.random.uniform(0.0, 0.8))
    killed(world.run(space_id).app)
    status = world.until(space_id, Stage.RUNTIME_ERROR, timeout=5).status
    assert status.error is not None
    assert "signal 9" in status.error.message, status.error
    world.is_started_again(space_id)


def app_running(world: World) -> None:
    space_id = world.launch()
    before = world.run(space_id)
    killed(before.app)
    world.noticed(space_id, before)
    after = world.recovers(space_id)
    assert (after.status.restarts, after.status.local_url) == (1, before.status.local_url)


def shim_cloning(world: World) -> None:
    shim_building(world, Step.CLONE)


def shim_fetching(world: World) -> None:
    shim_building(world, Step.LFS)


def shim_installing(world: World) -> None:
    shim_building(world, Step.ENVIRONMENT)


def shim_building(world: World, step: Step) -> None:
    space_id = held_in(step, world)
    killed(world.run(space_id).shim)
    status = world.until(space_id, Stage.BUILD_ERROR, timeout=10).status
    assert status.error is not None
    assert (status.error.code, status.error.step) == ("shim_lost", step)
    world.is_started_again(space_id)


def shim_starting(world: World) -> None:
    world.publish(programs.SLOW)
    space_id = world.start()
    world.until(space_id, Stage.APP_STARTING)
    time.sleep(world.random.uniform(0.0, 0.8))
    shim_lost(world, space_id)


def shim_running(world: World) -> None:
    shim_lost(world, world.launch())


def shim_pausing(world: World) -> None:
    """Between two lives of its app."""
    space_id = world.launch()
    killed(world.run(space_id).app)
    world.until(space_id, Stage.APP_STARTING, timeout=2)
    time.sleep(world.random.uniform(0.0, 0.8))
    shim_lost(world, space_id)


def shim_lost(world: World, space_id: str) -> None:
    before = world.run(space_id)
    killed(before.shim)
    if before.app is not None:
        gone(before.app, 1.0)  # the kernel sees to it
    status = world.until(space_id, Stage.RUNTIME_ERROR, timeout=10).status
    assert status.error is not None
    assert status.error.code == "shim_lost"
    world.is_started_again(space_id)


def pipeline_cloning(world: World) -> None:
    pipeline_building(world, Step.CLONE)


def pipeline_installing(world: World) -> None:
    pipeline_building(world, Step.ENVIRONMENT)


def pipeline_building(world: World, step: Step) -> None:
    space_id = held_in(step, world)
    pids = [pid for pid in family(world.run(space_id)) if "spaces_runner.pipeline" in words(pid)]
    killed(identify(pids[0]))
    status = world.until(space_id, Stage.BUILD_ERROR, timeout=10).status
    assert status.error is not None
    assert "signal 9" in status.error.message
    assert status.error.hint
    world.is_started_again(space_id)


def face(world: World) -> None:
    """The command line itself, at any moment of a launch: what it has told is so, and what it has begun goes on."""
    world.publish()
    known = {"KEY": world.secret, "UV_DEFAULT_INDEX": world.index.url, "PIP_INDEX_URL": ""}
    with ending(world.cli.start("run", "o/app", "--no-share", "--secret", "KEY", **known)) as command:
        time.sleep(world.random.uniform(0.5, 2.5))
        command.kill()
    space_id = world.start()  # at work already, as the command line asked for it, or started by this
    told = world.acknowledged[space_id]
    world.acknowledged[space_id] = replace(told, options=world.run(space_id).space.options)
    world.recovers(space_id)
