"""Settings -> how well this machine can keep a Space in: by trying to get out, never by looking at version numbers."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from spaces_runner.sandbox.command import Limits, program
from spaces_runner.sandbox.fence import SYSTEM
from spaces_runner.settings import Settings
from spaces_runner.types import Fence, Sandbox, User

DEADLINE_S = 20.0
# What every sandbox must hold. The rest is as far as a machine's kernel goes, and is told.
MUST_HOLD = frozenset({"owner", "neighbour", "shared", "environ", "memory", "root", "trace", "mount"})
MEANS = ((True, True), (True, False), (False, True), (False, False))  # enclosed, filtered: the most first


@dataclass(frozen=True, slots=True, kw_only=True)
class Traps:
    """Where a canary finds what it must not get at: files, the runner's process, a socket's name, a port."""

    owner: str
    neighbour: str
    shared: str
    temporary: str
    own: str
    runner: int
    socket: str
    port: int


def examine(settings: Settings) -> Sandbox:
    """The best that works here; one that does not hold where nothing does. Takes some tenths of a second."""
    settings.home_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    user = User(uid=settings.uid_base - 1, gid=settings.uid_base - 1) if os.geteuid() == 0 else None
    best = Sandbox(holds=False, enclosed=False, filtered=False, open=())
    with _set(settings, user) as traps:
        for enclosed, filtered in MEANS:
            found = _try(traps, user, enclosed=enclosed, filtered=filtered)
            if found is not None and (found.holds or not best.open):
                best = found
            if best.holds:
                break
    return best


def _try(traps: Traps, user: User | None, *, enclosed: bool, filtered: bool) -> Sandbox | None:
    """None where this machine cannot even do that."""
    fence = Fence(read=SYSTEM, write=(traps.own,), enclosed=enclosed, filtered=filtered)
    command = (*program("canaries.py", user, fence, Limits()), json.dumps(asdict(traps)))
    try:
        done = subprocess.run(command, capture_output=True, cwd="/", env={}, timeout=DEADLINE_S, check=False)
        got_out: dict[str, bool] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    if not got_out.pop("own", False):
        return None
    holes = tuple(name for name, out in got_out.items() if out)
    return Sandbox(holds=not MUST_HOLD & set(holes), enclosed=enclosed, filtered=filtered, open=holes)


@contextmanager
def _set(settings: Settings, user: User | None) -> Iterator[Traps]:
    """Traps where what they stand for is: in the state directory, in the temporary one, in this process."""
    room = Path(tempfile.mkdtemp(prefix="sandbox-", dir=settings.home_dir))
    handle, temporary = tempfile.mkstemp(prefix="sandbox-")
    os.close(handle)
    Path(temporary).chmod(0o644)
    name = f"spaces-runner-{secrets.token_hex(8)}"
    with closing(socket.socket(socket.AF_UNIX)) as abstract, closing(socket.socket()) as port:
        abstract.bind("\0" + name)
        abstract.listen()
        port.bind(("127.0.0.1", 0))
        port.listen()
        try:
            room.chmod(0o755)
            yield Traps(
                owner=_planted(room / "owner", None),
                neighbour=_planted(room / "neighbour", User(uid=user.uid - 1, gid=user.gid - 1) if user else None),
                shared=_folder(room / "shared", 0o755, None),
                temporary=temporary,
                own=_folder(room / "own", 0o700, user),
                runner=os.getpid(),
                socket=name,
                port=port.getsockname()[1],
            )
        finally:
            shutil.rmtree(room, ignore_errors=True)
            Path(temporary).unlink(missing_ok=True)


def _planted(folder: Path, user: User | None) -> str:
    """A file in a closed folder."""
    path = Path(_folder(folder, 0o700, user), "secret")
    path.write_text("secret")
    path.chmod(0o600)
    if user is not None:
        os.chown(path, user.uid, user.gid)
    return str(path)


def _folder(path: Path, mode: int, user: User | None) -> str:
    path.mkdir()
    path.chmod(mode)
    if user is not None:
        os.chown(path, user.uid, user.gid)
    return str(path)
