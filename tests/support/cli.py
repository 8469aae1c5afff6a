"""The command line as a child process, as a person or a program starts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces_runner.settings import Settings

ROOT = Path(__file__).parents[2]


def environ_of(settings: Settings, **more: str) -> dict[str, str]:
    """The environment that `read_settings` makes `settings` of."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPACES_RUNNER_", "HF_"))}
    ours = {
        "SPACES_RUNNER_HOME": settings.home,
        "HF_ENDPOINT": settings.hf_endpoint,
        "HF_TOKEN": settings.hf_token or "",
        "HF_TOKEN_PATH": "/nonexistent",
        "SPACES_RUNNER_SHARE_SERVER": settings.share_server,
        "SPACES_RUNNER_TUNNEL_CLIENT": settings.tunnel_client,
        "SPACES_RUNNER_TUNNEL_CLIENT_SHA256": settings.tunnel_client_sha256 or "",
        "SPACES_RUNNER_UID_BASE": str(settings.uid_base),
        "SPACES_RUNNER_PORT_BASE": str(settings.port_base),
    }
    return {**kept, **ours, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cli:
    settings: Settings

    def __call__(self, *args: str, timeout: float = 60, **environ: str) -> subprocess.CompletedProcess[str]:
        """One command to its end, with no terminal and no standard input."""
        return subprocess.run(
            self.argv(*args),
            env=environ_of(self.settings, **environ),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def data(self, *args: str, timeout: float = 60) -> Any:
        """What a command prints as JSON; it must succeed."""
        verb, *rest = args
        done = self(verb, "--json", *rest, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def start(self, *args: str, **environ: str) -> subprocess.Popen[str]:
        """A command that goes on, in a process group of its own."""
        return subprocess.Popen(
            self.argv(*args),
            env=environ_of(self.settings, **environ),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def argv(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "spaces_runner", *args]


@contextmanager
def ending(command: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A command that is gone at the end, however the test went."""
    with command:
        try:
            yield command
        finally:
            command.kill()


def drain(fd: int, chunks: list[bytes]) -> None:
    """Everything from a terminal until its other side is closed."""
    while True:
        try:
            chunk = os.read(fd, 65536)
        except OSError:  # EIO: nobody holds the other side any more
            return
        if not chunk:
            return
        chunks.append(chunk)


def said(command: subprocess.Popen[str], pattern: str, timeout: float) -> str:
    """The first group of `pattern` on a command's standard error."""
    deadline = time.monotonic() + timeout
    seen: list[str] = []
    assert command.stderr
    for line in command.stderr:
        seen.append(line)
        if match := re.search(pattern, line):
            return match.group(1)
        if time.monotonic() > deadline:
            break
    raise AssertionError("".join(seen))
