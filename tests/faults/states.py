"""The state directory and the machine under it: clock, descriptors, a read-only disk, a database that is broken."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

from spaces_runner import looking
from spaces_runner.store import opened
from spaces_runner.types import RefKind, RunOptions, SpaceRef, Stage
from tests.faults import invariants, programs
from tests.faults.kills import killed
from tests.faults.world import World, get, wait

HOUR_S = 3600.0


def clock_jumps(world: World) -> None:
    """The machine's clock is set, forth and back. To the runner all that it wrote down is older then, or newer.

    Waits are measured by another clock, which does not jump. Setting this machine's clock would disturb all on it.
    """
    running = world.launch()
    before = world.run(running)
    for sign in (1, -1):
        lost = opened(world.settings).admit(SpaceRef(kind=RefKind.DIRECTORY, source=f"/lost{sign}"), RunOptions())
        world.acknowledge(lost)  # and the face that was told of it died
        shift(world, sign * world.random.uniform(1, 48) * HOUR_S)
        after = world.run(running)
        assert looking.status(running, world.settings).stage is Stage.RUNNING
        assert (after.app, after.shim) == (before.app, before.shim)
        ends(world, lost.space.id)
    world.is_started_again(running)


def ends(world: World, space_id: str) -> None:
    wait(lambda: not world.look(space_id).active, "nobody watches over a run, and it stays as it is")


def shift(world: World, jump_s: float) -> None:
    """All times in the state directory."""
    tables = {"spaces": ("created",), "runs": ("created", "ready", "ended"), "ports": ("released",)}
    with closing(sqlite3.connect(world.settings.database, isolation_level=None)) as db:
        for table, columns in tables.items():
            changes = ", ".join(f"{column} = {column} - ?" for column in columns)
            db.execute(f"UPDATE {table} SET {changes}", (jump_s,) * len(columns))
    for path in (*world.settings.environments_dir.iterdir(), *world.settings.spaces_dir.glob("*/*")):
        written = path.lstat().st_mtime - jump_s
        os.utime(path, (written, written), follow_symlinks=False)


def descriptors(world: World) -> None:
    """The shim has none left when its app ends, which has a daemon. Whatever becomes of the Space, it is told."""
    space_id = world.launch(programs.WITH_A_DAEMON)
    before = world.run(space_id)
    assert before.shim is not None
    used = len(list(Path(f"/proc/{before.shim.pid}/fd").iterdir()))
    _, most = resource.prlimit(before.shim.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(before.shim.pid, resource.RLIMIT_NOFILE, (world.random.randrange(3, used + 2), most))
    killed(before.app)
    wait(lambda: world.look(space_id) is not Stage.RUNNING, "its end is not told", 5)
    time.sleep(1.5)  # it may be started again, or end
    if before.shim.alive:
        resource.prlimit(before.shim.pid, resource.RLIMIT_NOFILE, (most, most))
    if not world.look(space_id).active:
        assert world.run(space_id).status.error is not None
        invariants.nothing_held(world)
    world.is_started_again(space_id)


def read_only(world: World) -> None:
    """Each verb says so plainly, and what only looks may as well look; once it is writable again all is as it was."""
    space_id = world.launch()
    world.stop(space_id)
    verbs = (("ps",), ("run", "o/app"), ("restart", space_id, "--no-wait"), ("rm", space_id), ("logs", space_id))
    opened(world.settings).close()
    remount(world, "ro")
    try:
        for verb in verbs:
            done = world.cli(*verb)
            assert "Traceback" not in done.stderr, done.stderr
            assert done.returncode == 0 or "read-only" in done.stderr.lower().replace("readonly", "read-only"), (
                verb,
                done,
            )
    finally:
        remount(world, "rw")
    world.is_started_again(space_id)


def remount(world: World, how: str) -> None:
    mount = ["mount", "-o", f"remount,{how}", str(world.home)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr


def corrupt_database(world: World) -> None:
    """It is told, with what to do; whoever does that has a runner again, and nobody is left of what ran before."""
    space_id = world.launch()
    before = world.run(space_id)
    opened(world.settings).close()
    broken(world)
    told = world.cli("ps")
    assert "Traceback" not in told.stderr
    assert told.returncode != 0
    assert "move the file away" in told.stderr
    assert get(before.status.local_url) == "ok", "what runs goes on"
    for path in world.home.glob("state.db*"):
        path.rename(path.with_name(f"broken-{path.name}"))
    world.acknowledged.clear()
    again = world.start()
    world.recovers(again, 30)


def broken(world: World) -> None:
    """Its first page is noise, and its log is empty: a disk that failed."""
    with world.settings.database.open("r+b") as file:
        file.write(world.random.randbytes(4096))
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.truncate(f"{world.settings.database}{suffix}", 0)
