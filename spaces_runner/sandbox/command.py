"""The command that becomes an app with few rights. Knows no Space."""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from spaces_runner.types import Fence, User

OOM_SCORE = 800  # when memory runs out, a Space goes before its owner's other programs


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one Space may have at most."""

    # Each less where the machine allows less.
    processes: int = 8192  # threads count; only where the Space is a user of its own
    files: int = 65536  # open at once by one process


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What `confine.py` is told. `uid`, `processes` None: as they are."""

    uid: int | None
    processes: int | None
    files: int
    enclosed: bool  # by Landlock: `read` and `write` are all that there is
    filtered: bool  # by seccomp
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


def wrap(argv: tuple[str, ...], user: User | None, fence: Fence | None, limits: Limits) -> tuple[str, ...]:
    """A command that becomes `user`, gives up all privileges, dies with its starter, and then is `argv`.

    `fence`: what it may reach; None for the owner's own programs, which reach what the owner does.
    """
    return (*program("confine.py", user, fence, limits), *argv)


def program(name: str, user: User | None, fence: Fence | None, limits: Limits) -> tuple[str, ...]:
    """A program of this folder that puts itself under these orders."""
    orders = Orders(
        uid=user.uid if user else None,
        processes=_allowed(resource.RLIMIT_NPROC, limits.processes) if user else None,
        files=_allowed(resource.RLIMIT_NOFILE, limits.files),
        enclosed=fence is not None and fence.enclosed,
        filtered=fence is not None and fence.filtered,
        read=fence.read if fence else (),
        write=fence.write if fence else (),
    )
    libraries = _libraries() if orders.enclosed or orders.filtered else ""
    return (sys.executable, "-I", "-S", str(Path(__file__).with_name(name)), libraries, json.dumps(asdict(orders)))


def make_killable(pid: int) -> None:
    """Have the kernel end this one first when memory runs out. Its children inherit it."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))
    except OSError:  # it is gone, or a container forbids it
        return


def _allowed(which: int, wanted: int) -> int:
    """As much as is wanted, or the most that this process may have: not every root can raise that."""
    most = resource.getrlimit(which)[1]
    return wanted if most == resource.RLIM_INFINITY else min(wanted, most)


def _libraries() -> str:
    """The folder in which landlockpy and pyseccomp are."""
    found = find_spec("landlockpy")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("landlockpy is not installed")
    return str(Path(found.origin).parents[1])
