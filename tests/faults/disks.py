"""A disk that is full, for real: the state directory is a small file system of its own, and something else fills it."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException

from spaces_runner.errors import StateError
from spaces_runner.types import Stage, Step
from tests.faults.kills import held_in
from tests.faults.world import RECOVERED_S, World, get


@contextmanager
def full(world: World) -> Iterator[None]:
    """Not a byte is left while the block runs."""
    ballast = world.home / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"b" * size)
    assert os.statvfs(world.home).f_bavail == 0
    try:
        yield
    finally:
        ballast.unlink()


def fetching(world: World) -> None:
    building(world, Step.LFS)


def installing(world: World) -> None:
    building(world, Step.ENVIRONMENT)


def building(world: World, step: Step) -> None:
    space_id = held_in(step, world)
    with full(world):
        world.hub.behave()
        world.index.behave()
        time.sleep(6.0)
    status = world.until(space_id, Stage.BUILD_ERROR, timeout=RECOVERED_S).status
    assert status.error is not None
    assert status.error.code in ("disk_too_small", "packages_too_large"), status.error
    assert "prune" in status.error.hint
    world.is_started_again(space_id)


def running(world: World) -> None:
    """It serves all the while, and its log has a gap. Its end, which nobody could write down, is told in the end."""
    space_id = world.launch()
    before = world.run(space_id)
    url = before.status.local_url
    with full(world):
        for _ in range(200):
            assert get(f"{url}talk") == "ok"
        assert get(url) == "ok"
        with suppress(OSError, HTTPException):
            urllib.request.urlopen(f"{url}end", timeout=5).close()
        time.sleep(1.5)
        with suppress(StateError):
            world.look(space_id)
    world.noticed(space_id, before)
    after = world.recovers(space_id)
    assert after.status.restarts == 1
    assert any("started with" in line for line in world.log(space_id)), "the log goes on"
