"""Who is alive of a state directory, told by the process table and not by the runner."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from spaces_runner.process import Identity, all_processes, identify
from spaces_runner.settings import Settings
from spaces_runner.store import USER_SLOTS, opened
from spaces_runner.store.records import Run
from spaces_runner.variables import MARK


def at_work(settings: Settings) -> list[Run]:
    return [run for run in opened(settings).runs() if run.status.stage.active]


def family(run: Run) -> set[int]:
    """A shim and all that it started."""
    assert run.shim is not None
    children: dict[int, list[int]] = {}
    for process in all_processes():
        children.setdefault(process.parent, []).append(process.pid)
    found, todo = set(), [run.shim.pid]
    while todo:
        pid = todo.pop()
        found.add(pid)
        todo += children.get(pid, ())
    return found


def expected(settings: Settings) -> set[int]:
    """Who may be there: the families of what is at work, and who asks."""
    return {pid for run in at_work(settings) if run.shim for pid in family(run)} | {os.getpid()}


def orphans(settings: Settings, marks: set[str]) -> set[Identity]:
    """Who belongs here by user, run mark, open file, directory or program, and to nothing that is at work."""
    spared = expected(settings)
    ours = [one.pid for one in all_processes() if one.pid not in spared and belongs(one.pid, settings, marks)]
    return {found for pid in ours if (found := identify(pid))}


def belongs(pid: int, settings: Settings, marks: set[str]) -> bool:
    proc, first = Path("/proc") / str(pid), settings.uid_base
    try:
        if first <= proc.stat().st_uid < first + USER_SLOTS:
            return True
        told = (proc / "environ").read_bytes().split(b"\0")
        if any(f"{MARK}={mark}".encode() in told for mark in marks):
            return True
        links = [proc / "cwd", proc / "exe", *(proc / "fd").iterdir()]
        return any(str(link.readlink()).startswith(settings.home) for link in links)
    except OSError:  # it has ended, or is one of the kernel's own
        return False


def described(found: set[Identity]) -> list[str]:
    return [f"{one.pid} {' '.join(words(one.pid))[:200]}" for one in found]


def words(pid: int) -> list[str]:
    """Its command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ["(gone)"]


def end_all(settings: Settings, marks: set[str]) -> None:
    """Kill whoever is there: a test that failed leaves nobody."""
    for one in all_processes():
        if one.pid != os.getpid() and belongs(one.pid, settings, marks) and (found := identify(one.pid)):
            found.signal(signal.SIGKILL)
