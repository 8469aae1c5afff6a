"""How an app is started so that it can do little harm: a user of its own, no privileges, limits. Knows no Space.

What a Space may reach of files and network will be narrowed further here; whoever starts an app only calls `wrap`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.types import User

OOM_SCORE = 800  # when memory runs out, a Space goes before its owner's other programs


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one Space may have at most."""

    processes: int = 8192  # threads count; only where the Space is a user of its own
    files: int = 65536  # open at once by one process; less where the machine allows less


def wrap(argv: tuple[str, ...], user: User | None, limits: Limits, path: str) -> tuple[str, ...]:
    """A command that becomes `user`, gives up all privileges, dies with its starter, and then is `argv`.

    It is done by util-linux's setpriv and prlimit, found on `path`, or by a small program of ours where they are
    missing or too old.
    """
    setpriv, prlimit = (shutil.which(name, path=path) for name in ("setpriv", "prlimit"))
    if setpriv and prlimit:
        command = (prlimit, *_limits(limits, user), setpriv, *_privileges(user), "--")
        if _works(command):
            return (*command, *argv)
    return _own(user, limits) + argv


def make_killable(pid: int) -> None:
    """Have the kernel end this one first when memory runs out. Its children inherit it."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))
    except OSError:  # it is gone, or a container forbids it
        return


def _privileges(user: User | None) -> tuple[str, ...]:
    common = ("--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--pdeathsig=KILL")
    if user is None:
        return common
    return (f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--bounding-set=-all", *common)


def _limits(limits: Limits, user: User | None) -> tuple[str, ...]:
    files = _file_limit(limits)
    processes = (f"--nproc={limits.processes}",) if user else ()
    return ("--core=0", f"--nofile={files}:{files}", *processes)


def _file_limit(limits: Limits) -> int:
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return limits.files if allowed == resource.RLIM_INFINITY else min(limits.files, allowed)


def _works(command: tuple[str, ...]) -> bool:
    """Whether these very arguments are understood here: old versions, and other programs of the name, lack some."""
    try:
        done = subprocess.run([*command, "/bin/true"], capture_output=True, cwd="/", env={}, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _own(user: User | None, limits: Limits) -> tuple[str, ...]:
    words = (str(user.uid) if user else "-", str(limits.processes) if user else "-", str(_file_limit(limits)))
    return (sys.executable, "-I", "-S", _program(), *words)


def _program() -> str:
    return str(Path(__file__).with_name("confine.py"))
