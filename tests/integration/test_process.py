"""Families of real processes, in every way in which one can try to get away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from spaces_runner.process import Family, Identity, identify, listening_ports, zombie_children
from spaces_runner.types import User
from spaces_runner.variables import MARK
from tests.support.shims import until

IGNORE_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
SLEEP = "import time; time.sleep(120)"
DOUBLE_FORK = "import os; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0);"
FORK_STORM = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
deadline = time.time() + 60
while time.time() < deadline:  # every child takes over and its parent leaves: no pid lives long
    try:
        if os.fork():
            time.sleep(0.01)
            os._exit(0)
    except OSError:
        time.sleep(0.01)
"""


@pytest.fixture
def mark() -> Iterator[str]:
    """A run mark; whoever carries it in the end is killed."""
    name = os.urandom(8).hex()
    yield name
    Family(mark=name).end(0)
    for pid in zombie_children():
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def run(code: str, mark: str, python: str = sys.executable, user: User | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [python, "-S", "-c", code],
        env={MARK: mark},
        start_new_session=True,
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=() if user else None,
    )


def identity(process: subprocess.Popen[bytes]) -> Identity:
    found = identify(process.pid)
    assert found is not None
    return found


def test_an_identity_is_more_than_a_pid(mark: str) -> None:
    process = run(SLEEP, mark)
    who = identity(process)
    assert who.alive
    assert not Identity(pid=who.pid, start=who.start + 1, boot=who.boot).alive
    assert not Identity(pid=who.pid, start=who.start, boot="another").alive
    assert not Identity(pid=who.pid, start=who.start + 1, boot=who.boot).signal(signal.SIGKILL)
    assert process.poll() is None
    assert who.signal(signal.SIGKILL)
    assert who.wait(5)
    assert not who.alive, "a zombie counts as dead"
    process.wait()
    assert not who.signal(signal.SIGKILL)


def test_waiting_has_a_deadline(mark: str) -> None:
    process = run(SLEEP, mark)
    begun = time.monotonic()
    assert not identity(process).wait(0.2)
    assert time.monotonic() - begun < 2
    process.kill()
    process.wait()


def test_children_that_left_session_and_parent_belong_by_their_mark(mark: str) -> None:
    process = run(DOUBLE_FORK + SLEEP, mark)
    process.wait()
    family = Family(mark=mark)
    until(lambda: len(family.members()) == 1)
    assert family.end(5) == ()
    assert family.members() == ()


def test_children_without_a_mark_belong_by_descent(mark: str) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {SLEEP!r}], env={{}})"
    process = run(code, mark)
    family = Family(mark=mark)
    until(lambda: len(family.members()) == 2)
    assert family.end(5) == ()
    process.wait()


def test_children_without_mark_and_parent_belong_by_session(mark: str) -> None:
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', {SLEEP!r}], env={{}})"
    process = run(child, mark)
    root = identity(process)
    process.wait()
    family = Family(mark=mark, roots=(root,))
    assert len(family.members()) == 1
    assert family.end(5) == ()
    assert family.members() == ()


def test_what_came_to_its_subreaper_belongs_and_helpers_do_not(mark: str) -> None:
    left, helper = run(SLEEP, ""), subprocess.Popen([sys.executable, "-S", "-c", SLEEP])
    members = {member.pid for member in Family(mark=mark, adopting=True).members()}
    for process in (left, helper):
        process.kill()
        process.wait()
    assert left.pid in members
    assert helper.pid not in members
    assert left.pid not in {member.pid for member in Family(mark=mark).members()}


def test_a_polite_family_ends_well_before_the_grace(mark: str) -> None:
    process = run(SLEEP, mark)
    begun = time.monotonic()
    assert Family(mark=mark).end(10) == ()
    assert time.monotonic() - begun < 2
    assert process.wait() == -signal.SIGTERM


def test_who_ignores_term_is_killed_after_the_grace(mark: str) -> None:
    process = run(IGNORE_TERM + "print('x', flush=True);" + SLEEP, mark)
    time.sleep(0.3)
    begun = time.monotonic()
    assert Family(mark=mark).end(0.5) == ()
    assert 0.4 < time.monotonic() - begun < 5
    assert process.wait() == -signal.SIGKILL


def test_a_stopped_process_hears_term_all_the_same(mark: str) -> None:
    process = run(SLEEP, mark)
    os.kill(process.pid, signal.SIGSTOP)
    assert Family(mark=mark).end(5) == ()
    assert process.wait() == -signal.SIGTERM


def test_a_fork_storm_ends(mark: str) -> None:
    process = run(FORK_STORM, mark)
    process.wait(timeout=10)
    family = Family(mark=mark)
    assert family.end(0.2) == ()
    assert family.members() == ()


SUBREAPER = """
import ctypes, subprocess, sys, time
from spaces_runner.process import Family
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
pauses = []
sleep, time.sleep = time.sleep, lambda seconds: (pauses.append(seconds), sleep(seconds))
for code in sys.argv[2:]:
    storm = subprocess.Popen([sys.executable, "-S", "-c", code], env={}, start_new_session=True)
family = Family(mark=sys.argv[1], adopting=True)
print(len(family.end(0)), len(pauses), len(family.members()))
"""


def ended_by_a_subreaper(mark: str, *arguments: str) -> list[int]:
    """Who was left, how often it paused, and who is alive then."""
    line = [sys.executable, "-c", SUBREAPER, mark, *arguments]
    return [int(word) for word in subprocess.check_output(line, timeout=60).split()]


def test_a_subreaper_without_children_looks_once_and_waits_for_nobody(mark: str) -> None:
    assert ended_by_a_subreaper(mark) == [0, 0, 0]


def test_a_subreaper_ends_a_fork_storm_of_its_own(mark: str) -> None:
    left, pauses, alive = ended_by_a_subreaper(mark, FORK_STORM)
    assert (left, alive) == (0, 0) and pauses > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run processes of another user")
def test_all_of_a_user_go_even_without_mark_session_and_parent(mark: str, space_python: str) -> None:
    user = User(uid=60999, gid=60999)
    process = run(DOUBLE_FORK + FORK_STORM, "", space_python, user)
    process.wait()
    family = Family(mark=mark, user=user)
    until(lambda: bool(family.members()))
    begun = time.monotonic()
    assert family.end(0.2) == ()
    assert time.monotonic() - begun < 5
    time.sleep(0.2)
    assert family.members() == ()


def test_who_is_spared_stays(mark: str) -> None:
    process = run(SLEEP, mark)
    assert Family(mark=mark, spare=frozenset({process.pid})).end(0.1) == ()
    assert process.poll() is None
    process.kill()
    process.wait()


def test_the_ports_of_a_family_are_known(mark: str, tmp_path: Path) -> None:
    told = tmp_path / "port"
    code = "import socket; s = socket.create_server(('127.0.0.1', 0));"
    process = run(code + f"open({str(told)!r}, 'w').write(str(s.getsockname()[1]));" + SLEEP, mark)
    until(lambda: told.exists() and bool(told.read_text()))
    assert listening_ports(Family(mark=mark).members()) == (int(told.read_text()),)
    process.kill()
    process.wait()
