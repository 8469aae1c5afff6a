"""Who a process is and who belongs to it: identities, families, and how a family ends. Knows nothing of Spaces.

Linux only: everything is read from /proc. A pid alone names nobody, because pids are used again.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.types import User
from spaces_runner.variables import MARK

_PROC = Path("/proc")
_SCAN_EVERY_S = 0.05
KILL_S = 2.0  # past the grace: what a KILL does not end by then waits for a device, and nothing ends it


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One process for certain: its pid, the tick it started at, and the boot that tick counts from."""

    pid: int
    start: int
    boot: str

    @property
    def alive(self) -> bool:
        """Whether it still runs. A zombie does not."""
        found = read_process(self.pid)
        return found is not None and found.start == self.start and not found.zombie and boot_id() == self.boot

    def signal(self, number: int) -> bool:
        """Send it a signal. False where it is gone already."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive:  # looked at after the handle was opened: what it names cannot change any more
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def wait(self, timeout: float) -> bool:
        """Whether it ended within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive:
                return True
            return readable(handle, deadline - time.monotonic())
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One line of /proc/PID/stat."""

    pid: int
    parent: int
    group: int
    session: int
    start: int
    zombie: bool


def readable(descriptor: int, timeout: float) -> bool:
    """Whether it has something to read, or has ended, within `timeout` seconds."""
    looked = select.poll()  # not select(): that one knows no descriptor past 1023
    looked.register(descriptor, select.POLLIN)
    return bool(looked.poll(max(0.0, timeout) * 1000))


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """Who has this pid now; None where nobody has."""
    found = read_process(pid)
    return Identity(pid=pid, start=found.start, boot=boot_id()) if found else None


def read_process(pid: int) -> Process | None:
    try:
        line = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = line[line.rindex(b")") + 2 :].split()  # the name before it may hold spaces and brackets
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        start=int(fields[19]),
        zombie=fields[0] in (b"Z", b"X"),
    )


def all_processes() -> Iterator[Process]:
    """Every process of the machine that is not a zombie."""
    for name in os.listdir(_PROC):  # noqa: PTH208  # names are all that is needed, and there may be thousands
        if name.isdigit() and (found := read_process(int(name))) and not found.zombie:
            yield found


def users_at_work() -> frozenset[int]:
    """The users that have processes on this machine."""
    return frozenset(uid for process in all_processes() for uid in _users(process.pid))


def zombie_children() -> tuple[int, ...]:
    """This process's own children that ended and were not waited for."""
    me = os.getpid()
    names = (int(name) for name in os.listdir(_PROC) if name.isdigit())  # noqa: PTH208
    return tuple(pid for pid in names if (found := read_process(pid)) and found.zombie and found.parent == me)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """All processes of one run, wherever they went: by user, by run mark, by session, by descent.

    `spare` are processes that are never of it, whatever they look like. `roots` are known members, such as the app
    itself; all they started belongs to it. `adopting`: the caller is its subreaper, so what the family left behind is
    a child of the caller's. The caller's own helpers are known by its session, which nobody can enter from outside.
    """

    mark: str
    user: User | None = None
    roots: tuple[Identity, ...] = ()
    spare: frozenset[int] = frozenset()
    adopting: bool = False

    def members(self) -> tuple[Identity, ...]:
        """Who is alive now."""
        spared = self.spare | {os.getpid(), 1}
        known = {process.pid: process for process in all_processes()}
        boot = boot_id()
        # A root's pid that somebody else has by now says nothing; one that nobody has may still name a session.
        own = [root for root in self.roots if root.boot == boot]
        sessions = {root.pid for root in own if root.pid not in known or known[root.pid].start == root.start}
        roots = sessions & known.keys()
        found = {
            pid
            for pid, process in known.items()
            if pid not in spared
            and (pid in roots or process.session in sessions or self._adopted(process) or self._claims(pid))
        }
        found |= _descendants(found, known) - spared
        return tuple(Identity(pid=pid, start=known[pid].start, boot=boot) for pid in sorted(found))

    def end(self, grace_s: float, *, kill_s: float = KILL_S) -> tuple[Identity, ...]:
        """SIGTERM, and SIGKILL after `grace_s` seconds for `kill_s` more, until nobody is left.

        Returns who could not be killed.
        """
        asked: set[Identity] = set()
        deadline = time.monotonic() + grace_s
        while left := self.members() or self._late():
            if time.monotonic() >= deadline:
                return self._kill(kill_s)
            for member in left:
                if member not in asked:
                    member.signal(signal.SIGTERM)
                    member.signal(signal.SIGCONT)  # a stopped process would not hear the first
                    asked.add(member)
            time.sleep(_SCAN_EVERY_S)
        return ()

    def _kill(self, kill_s: float) -> tuple[Identity, ...]:
        deadline = time.monotonic() + kill_s
        while left := self.members() or self._late():
            if time.monotonic() >= deadline:
                return left
            self._kill_user()
            for member in left:
                member.signal(signal.SIGKILL)
            time.sleep(_SCAN_EVERY_S / 5)
        return ()

    def _late(self) -> tuple[Identity, ...]:
        """Who was born while /proc was read, and so was not seen."""
        if self.adopting and not _has_children():  # nor has it descendants: who could be born?
            return ()
        time.sleep(_SCAN_EVERY_S)
        return self.members()

    def _kill_user(self) -> None:
        """All of the user's processes in one system call, which no fork can outrun."""
        if self.user is None or os.geteuid() != 0:
            return
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["/bin/sh", "-c", "kill -9 -1"],
                user=self.user.uid,
                group=self.user.gid,
                extra_groups=(),
                cwd="/",
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=2,
                check=False,
            )

    def _adopted(self, process: Process) -> bool:
        return self.adopting and process.parent == os.getpid() and process.session != os.getsid(0)

    def _claims(self, pid: int) -> bool:
        if self.user is not None and self.user.uid in _users(pid):
            return True
        try:
            environment = (_PROC / str(pid) / "environ").read_bytes()
        except OSError:  # gone, or another user's
            return False
        return f"{MARK}={self.mark}".encode() in environment.split(b"\0")


def _has_children() -> bool:
    """Whether this process has any that it has not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _users(pid: int) -> tuple[int, ...]:
    """Real, effective, saved and file system user of a process."""
    try:
        lines = (_PROC / str(pid) / "status").read_bytes().splitlines()
    except OSError:
        return ()
    return next((tuple(map(int, line.split()[1:])) for line in lines if line.startswith(b"Uid:")), ())


def _descendants(of: Iterable[int], known: dict[int, Process]) -> set[int]:
    children: dict[int, list[int]] = {}
    for process in known.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    todo = list(of)
    while todo:
        fresh = [pid for pid in children.get(todo.pop(), ()) if pid not in found]
        found.update(fresh)
        todo += fresh
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listening TCP socket. `inode` names it in /proc/PID/fd."""

    port: int
    uid: int
    inode: int


def listeners() -> tuple[Listener, ...]:
    """Every listening TCP socket of this network namespace."""
    found = []
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    port = int(fields[1].rpartition(":")[2], 16)
                    found.append(Listener(port=port, uid=int(fields[7]), inode=int(fields[9])))
    return tuple(found)


def listening_ports(members: Iterable[Identity]) -> tuple[int, ...]:
    """The TCP ports that these processes listen on."""
    sockets = {f"socket:[{listener.inode}]": listener.port for listener in listeners()}
    ports: set[int] = set()
    for member in members:
        with suppress(OSError):
            for link in (_PROC / str(member.pid) / "fd").iterdir():
                with suppress(OSError):
                    ports.add(sockets.get(str(link.readlink()), 0))
    return tuple(sorted(ports - {0}))
