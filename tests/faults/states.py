"""The state directory and the machine under it: clock, descriptors, a disk that is read-only, a database that is broken."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import time
from contextlib import closing, suppress

import pytest

from spaces_runner import looking
from spaces_runner.errors import StateError
from spaces_runner.store import Store
from spaces_runner.types import RefKind, RunOptions, SpaceRef, Stage
from tests.faults.kills import killed
from tests.faults.world import RECOVERED_S, World, get, wait

HOUR_S = 3600.0


def clock_ahead(world: World) -> None:
    clock(world, world.random.uniform(1, 48) * HOUR_S)


def clock_back(world: World) -> None:
    clock(world, -world.random.uniform(1, 48) * HOUR_S)


def clock(world: World, jump_s: float) -> None:
    """The machine's clock jumps. To the runner that is the same as all that it has written down being older.

    Waits are measured by another clock, which does not jump. Setting this machine's clock would disturb all on it.
    """
    running = world.launch()
    before = world.run(running)
    lost = Store(world.settings).admit(SpaceRef(kind=RefKind.DIRECTORY, source="/lost"), RunOptions())  # its face died
    world.acknowledge(lost)
    with closing(sqlite3.connect(world.settings.database, isolation_level=None)) as db:
        for table, columns in {
            "spaces": ["created"],
            "runs": ["created", "ready", "ended"],
            "ports": ["released"],
        }.items():
            for column in columns:
                db.execute(f"UPDATE {table} SET {column} = {column} - ?", (jump_s,))
    for path in (*world.settings.environments_dir.iterdir(), *world.settings.space(running).root.iterdir()):
        written = path.stat().st_mtime - jump_s
        os.utime(path, (written, written), follow_symlinks=False)
    after = world.run(running)
    assert looking.status(running, world.settings).stage is Stage.RUNNING
    assert (after.app, after.shim) == (before.app, before.shim)
    wait(lambda: not world.look(lost.space.id).active, "a run that nobody watches over stays as it is", RECOVERED_S)
    world.is_started_again(running)


def descriptors(world: World) -> None:
    """The shim has none left when its app ends. Whatever becomes of the Space, it is told."""
    space_id = world.launch()
    before = world.run(space_id)
    assert before.shim is not None
    used = len(os.listdir(f"/proc/{before.shim.pid}/fd"))
    _, most = resource.prlimit(before.shim.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(before.shim.pid, resource.RLIMIT_NOFILE, (used + world.random.randrange(3), most))
    killed(before.app)
    wait(lambda: world.look(space_id) is not Stage.RUNNING, "its end is not told", 5)
    if before.shim.alive:
        resource.prlimit(before.shim.pid, resource.RLIMIT_NOFILE, (most, most))
    time.sleep(1.5)
    if not world.look(space_id).active:
        assert world.run(space_id).status.error is not None
    world.is_started_again(space_id)


def read_only(world: World) -> None:
    """Each verb says so plainly; once it is writable again all is as it was."""
    space_id = world.launch()
    world.stop(space_id)
    remount(world, "ro")
    try:
        for verb in (
            ("ps",),
            ("run", "o/app"),
            ("restart", space_id, "--no-wait"),
            ("rm", space_id),
            ("logs", space_id),
        ):
            done = world.cli(*verb)
            assert "Traceback" not in done.stderr, done.stderr
            assert done.returncode == 0 or "read-only" in done.stderr.lower() or "readonly" in done.stderr, (verb, done)
    finally:
        remount(world, "rw")
    world.is_started_again(space_id)


def remount(world: World, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(world.home)], check=True, capture_output=True, timeout=10)


def corrupt_database(world: World) -> None:
    """It is told, with what to do; whoever does that has a runner again, and nobody is left of what ran before."""
    space_id = world.launch()
    before = world.run(space_id)
    database = world.settings.database
    with database.open("r+b") as file:
        file.write(world.random.randbytes(4096))
    with suppress(FileNotFoundError):
        database.with_name("state.db-wal").write_bytes(b"")
    with pytest.raises(StateError) as told:
        looking.status(space_id, world.settings)
    assert "move the file away" in told.value.hint
    assert get(before.status.local_url) == "ok", "what runs goes on"
    for path in world.home.glob("state.db*"):
        path.rename(path.with_name(f"broken-{path.name}"))
    world.acknowledged.clear()
    again = world.start()
    world.recovers(again, 30)
