"""What holds after any fault, looked at from outside: in the database, the process table, the kernel's list of locks.

Each is one function that takes the world and fails with what it found.
"""

from __future__ import annotations

import base64
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import httpx

from spaces_runner import control, core, looking
from spaces_runner.process import all_processes, listeners
from spaces_runner.store import USER_SLOTS, opened
from spaces_runner.types import RefKind, Stage
from tests.faults.census import at_work, described, expected, family, orphans, words
from tests.faults.world import World

SETTLED_S = 5.0  # after a fault is over, until nothing is left of it
SHIM_MIB = 40  # the most that a shim may take


def hold(world: World) -> None:
    """All of them, with whatever runs; then once more when all is stopped, and when all is removed."""
    adopted(world)
    acknowledged(world)
    true_stages(world)
    nothing_held(world)
    small_shims(world)
    secrets_kept(world)
    for space_id in world.acknowledged:
        world.stop(space_id)
    core.stop(world.settings)
    acknowledged(world)
    true_stages(world)
    nothing_held(world)
    secrets_kept(world)
    for space_id in tuple(world.acknowledged):
        control.remove(space_id, world.settings)
    assert looking.statuses(world.settings) == ()
    world.acknowledged.clear()
    nothing_held(world)
    secrets_kept(world)


def adopted(world: World) -> None:
    """A face that has just been started finds what runs, lets it run, and tells what is so."""
    runs = [run for run in opened(world.settings).runs() if run.space.ref.kind is not RefKind.CORE]
    before = {run.space.id: run for run in runs if run.status.stage is Stage.RUNNING}
    told = {row["id"]: row["stage"] for row in world.cli.data("ps")}
    assert set(told) == set(world.acknowledged)
    for space_id, run in before.items():
        now = world.run(space_id)
        assert told[space_id] == "RUNNING"
        assert (now.id, now.app, now.shim) == (run.id, run.app, run.shim), "it was started anew"


def acknowledged(world: World) -> None:
    """Every Space that the owner was told of is there, as it was asked for, in a database that is sound."""
    with closing(sqlite3.connect(f"file:{world.settings.database}?mode=ro", uri=True)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    spaces = {space.id: space for space in opened(world.settings).spaces() if space.ref.kind is not RefKind.CORE}
    assert set(spaces) == set(world.acknowledged)
    for space_id, told in world.acknowledged.items():
        space = spaces[space_id]
        assert (space.ref, space.options) == (told.ref, told.options)
        assert world.kept_secrets(space_id) == told.secrets
    for run in opened(world.settings).runs():
        numbers = [number for number, _ in opened(world.settings).events(run.id)]
        assert numbers == sorted(set(numbers))


def true_stages(world: World) -> None:
    """RUNNING answers, what is at work is watched over, and of what has ended nobody is left."""
    looking.sweep(world.settings)
    for run in opened(world.settings).runs():
        stage = run.status.stage
        if not stage.active:
            assert run.status.ended_at is not None
            assert (run.status.local_url, run.status.share_url, run.status.step) == (None, None, None)
            assert run.status.error is not None or not stage.failed
            continue
        assert run.shim is not None and run.shim.alive, f"{stage}, and nobody watches over it"
        if stage is Stage.RUNNING:
            assert run.app is not None and run.app.alive
            assert answers(run.status.local_url), f"RUNNING, and {run.status.local_url} does not answer"


def nothing_held(world: World) -> None:
    """Processes, ports, leases, locks and half-made files are those of what is at work."""
    settles(lambda: described(orphans(world.settings, world.marks)), "processes")
    ids = {run.id for run in at_work(world.settings)}
    with closing(sqlite3.connect(world.settings.database)) as db:
        held = {row[0] for row in db.execute("SELECT run_id FROM leases")}
        taken = {row[0] for row in db.execute("SELECT run_id FROM ports WHERE released IS NULL")}
        free = [range(*row) for row in db.execute("SELECT first, first + size FROM ports WHERE released IS NOT NULL")]
    assert held <= ids, "leases are left"
    assert taken <= ids, "ports are left"
    space_users = range(world.settings.uid_base, world.settings.uid_base + USER_SLOTS)
    stale = [one for one in listeners() if any(one.port in block for block in free) and one.uid in space_users]
    assert not stale, "somebody listens on a port that was given back"
    settles(lambda: locks(world), "locks")
    assert not half_made(world), f"half-made: {half_made(world)}"


def small_shims(world: World) -> None:
    """The memory that a fault took is given back."""
    for run in at_work(world.settings):
        assert run.shim is not None
        lines = Path(f"/proc/{run.shim.pid}/status").read_text().splitlines()
        resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        assert resident <= SHIM_MIB * 1024, f"the shim takes {resident} KiB"


def secrets_kept(world: World) -> None:
    """No planted secret in a file but the one that is for it, nor in what any process says of itself.

    The Space that was given its secret has it in its environment, which only itself and root can read, and so has the
    core the token: it is the owner's own program.
    """
    for planted in (world.secret, world.token):
        where = [path for path in files_with(planted, world.home) if Path(path).parent != world.settings.secrets_dir]
        assert not where, f"a secret is in {where}"
    knowing = {kind: members(world, kind) for kind in (RefKind.HUB, RefKind.CORE)}
    for pid, text in said_by_processes():
        assert pid in knowing[RefKind.CORE] or world.token.encode() not in text, f"the token is told by {words(pid)}"
        assert pid in knowing[RefKind.HUB] or world.secret.encode() not in text, f"the secret is told by {words(pid)}"


# How it is looked at


def members(world: World, kind: RefKind) -> set[int]:
    """The processes of Spaces, or of the core, without their shims."""
    runs = [run for run in at_work(world.settings) if run.space.ref.kind is kind]
    return {pid for run in runs if run.shim for pid in family(run) - {run.shim.pid}}


def answers(url: str | None) -> bool:
    """Whether anything comes back by HTTP."""
    try:
        httpx.get(url or "", timeout=5, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def settles(left: Callable[[], list[str]], what: str) -> None:
    """Until there are none; else fails with those that are left."""
    deadline = time.monotonic() + SETTLED_S
    while found := left():
        assert time.monotonic() < deadline, f"{what} are left: {found}"
        time.sleep(0.05)


def locks(world: World) -> list[str]:
    """Files of the state directory that the kernel has locked for somebody who is not at work."""
    files = {Path(path).lstat().st_ino: path for path in everything(world.home)}
    spared = expected(world.settings)
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" not in line]
    held = [(int(row[4]), int(row[5].split(":")[-1])) for row in rows]
    return [f"{files[inode]} by {pid}" for pid, inode in held if inode in files and pid not in spared]


def everything(folder: Path) -> Iterator[str]:
    for root, _, names in os.walk(folder):
        yield from (found for name in names if os.path.lexists(found := os.path.join(root, name)))  # noqa: PTH118  # thousands


def half_made(world: World) -> list[str]:
    """What a stage makes under another name first, once nothing is being built, and git's own lock files."""
    if any(run.status.stage is Stage.BUILDING for run in at_work(world.settings)):
        return []
    settings = world.settings
    marked = (path.parent for path in settings.environments_dir.glob("*/environment.json"))
    environments = set(settings.environments_dir.glob("[!.]*")) - set(marked)
    found = [*environments, *settings.spaces_dir.glob("*/build"), *settings.home_dir.glob(".state.db.*")]
    return sorted(str(path) for path in found)


def files_with(text: str, folder: Path) -> list[str]:
    """The files below that hold it, plain, percent-encoded or in base64.

    Looked at by another process: one that closes a database file gives up the locks of its own connections.
    """
    coded = base64.b64encode(text.encode()).decode().rstrip("=")
    patterns = [word for form in {text, quote(text), coded[:-1]} for word in ("-e", form)]
    command = ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", *patterns, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return sorted(done.stdout.splitlines())


def said_by_processes() -> Iterator[tuple[int, bytes]]:
    """Environment and arguments of every process."""
    for process in all_processes():
        for name in ("environ", "cmdline"):
            try:
                yield process.pid, (Path("/proc") / str(process.pid) / name).read_bytes()
            except OSError:  # it has ended
                continue
