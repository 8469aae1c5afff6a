"""A machine as a new user has it: a fresh clone, a state directory, and a shell."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import ROOT
from tests.docs.elsewhere import Stays

COMMAND_S = 300.0  # an old environment is resolved and fetched
ENDING_S = 60.0
INTERRUPTED = (0, 130, -signal.SIGINT)
# After each command, whatever it was: where the shell stands, and with which variables.
_AFTER = '\nstatus=$?; pwd >"$DOCS_KEPT/cwd"; env -0 >"$DOCS_KEPT/env"; exit $status\n'


class Failed(AssertionError):
    """A command did not do what its page says; the message has what it printed."""


def clone(place: Path) -> Path:
    """A fresh clone, furnished, that every user may enter."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(place)], check=True, timeout=60)
    place.chmod(0o755)
    furnish(place)
    return place


def furnish(place: Path) -> None:
    """What scripts/install would make of a clone within minutes, by links to the packages that are here already."""
    venv = place / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    own = next(venv.glob("lib/python*/site-packages"))
    (own / "here.pth").write_text(f"{place}\n{packages}\n")
    (venv / "bin" / "uv").symlink_to(Path(sys.prefix) / "bin" / "uv")
    entry = venv / "bin" / "spaces-runner"
    entry.write_text(f"#!{venv}/bin/python\nfrom spaces_runner.cli import main\n\nmain()\n")
    entry.chmod(0o755)
    (venv / ".made-in").write_text(f"{place.resolve()}\n")
    stamp = "cat pyproject.toml requirements.txt | sha256sum | cut -d' ' -f1 >.venv/.installed-app"
    subprocess.run(["bash", "-ec", stamp], cwd=place, check=True)


@dataclass(slots=True)
class Shell:
    """One shell session: a command stands where the one before it left, with its variables."""

    cwd: Path
    environ: dict[str, str]
    kept: Path  # a directory for what one command leaves to the next

    def type(self, command: str) -> str:
        """Run it to its end. Returns what it printed; raises Failed where it fails."""
        running = self._start(command)
        try:
            out, _ = running.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{command}\nhas not ended after {COMMAND_S:.0f} s: {self._killed(running)}") from error
        if running.returncode != 0:
            raise Failed(f"{command}\nended with {running.returncode}:\n{out}")
        self._move()
        return out

    def type_until(self, command: str, stays: Stays) -> str:
        """Run it until it has printed its sign, then press Ctrl-C. Returns what it printed."""
        running = self._start(f"exec {command}")
        seen = _read_until(running, stays.sign, time.monotonic() + COMMAND_S)
        if not re.search(stays.sign, seen):
            raise Failed(f"{command}\nnever printed {stays.sign}:\n{seen}{self._killed(running)}")
        if running.poll() is None:  # it may have had no more to say
            os.killpg(running.pid, signal.SIGINT)
        try:
            rest, _ = running.communicate(timeout=ENDING_S)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{command}\ngoes on after Ctrl-C: {seen}{self._killed(running)}") from error
        if running.returncode not in INTERRUPTED:
            raise Failed(f"{command}\nended with {running.returncode} after Ctrl-C:\n{seen}{rest}")
        return seen + rest

    def run_python(self, text: str) -> str:
        """A Python block, by the Python that the page is about."""
        script = self.kept / "block.py"
        script.write_text(text)
        return self.type(f"python {script}")

    def _start(self, command: str) -> subprocess.Popen[str]:
        after = "" if command.startswith("exec ") else _AFTER
        environ = {**self.environ, "DOCS_KEPT": str(self.kept)}
        return subprocess.Popen(
            ["bash", "-c", command + after],
            cwd=self.cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _move(self) -> None:
        self.cwd = Path((self.kept / "cwd").read_text().rstrip("\n"))
        pairs = (self.kept / "env").read_bytes().decode().split("\0")
        self.environ = dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def _killed(self, running: subprocess.Popen[str]) -> str:
        os.killpg(running.pid, signal.SIGKILL)
        return running.communicate()[0]


def _read_until(running: subprocess.Popen[str], sign: str, deadline: float) -> str:
    """What it prints until the sign is there, it closes its output, or the time is over."""
    assert running.stdout
    seen = b""
    fd = running.stdout.fileno()
    while not re.search(sign, seen.decode(errors="replace")) and (left := deadline - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            break
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        seen += chunk
    return seen.decode(errors="replace")


def path_with(environ: Mapping[str, str], programs: Path) -> str:
    """PATH without this project's own virtual environment, which a new user has not activated."""
    own = str(Path(sys.prefix) / "bin")
    return os.pathsep.join([str(programs), *(part for part in environ["PATH"].split(os.pathsep) if part != own)])


def remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
