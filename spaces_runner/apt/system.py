"""What this system says of packages: dpkg's and apt's own programs, found on the owner's path. Changes nothing.

Machines without them have no package lists, and nothing is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from spaces_runner.sanitize import clean_line

DPKG_LISTS = Path("/var/lib/dpkg/info")  # a NAME.list, or NAME:ARCHITECTURE.list, for every installed package
QUESTION_S = 30.0
# What a download needs of the owner's network.
_NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy")
_HEAD = re.compile(r"^(\S+):$")


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """`path` is where programs are looked for. `environ`: what they get besides."""

    path: str
    lists: Path = DPKG_LISTS
    environ: Mapping[str, str] = field(default_factory=lambda: network(os.environ))

    def program(self, name: str) -> str | None:
        return shutil.which(name, path=self.path)

    def has(self, name: str) -> bool:
        """Whether a package is installed."""
        return any(self.lists.glob(f"{name}.list")) or any(self.lists.glob(f"{name}:*.list"))

    def known(self, names: Iterable[str]) -> frozenset[str]:
        """Those that apt could install by exactly these names. What only other packages provide is none of them."""
        asked = {name.partition("=")[0]: name for name in names}
        program = self.program("apt-cache")
        if program is None or not asked:
            return frozenset()
        try:
            done = subprocess.run(
                [program, "policy", "--", *asked],
                env=self.variables,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=QUESTION_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return frozenset()
        return frozenset(asked[name] for name in _candidates(done.stdout) if name in asked)

    @property
    def variables(self) -> dict[str, str]:
        """For apt: no questions, English words, and nothing of the owner's but the way to the network."""
        return {**self.environ, "PATH": self.path, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}

    def run(self, argv: tuple[str, ...], on_line: Callable[[str], None], timeout_s: float) -> Done:
        """A program to its end, or for `timeout_s` seconds; each line that it prints goes to `on_line`, too."""
        process = subprocess.Popen(
            argv,
            env=self.variables,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        alarm = threading.Timer(timeout_s, _kill, (process.pid,))
        alarm.start()
        lines: list[str] = []
        with process:
            for raw in process.stdout or ():
                lines.append(clean_line(raw.rstrip("\n")))
                on_line(lines[-1])
        late = alarm.finished.is_set()
        alarm.cancel()
        return Done(code=process.returncode, lines=tuple(lines), late=late)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a program ended. `late`: it was killed, since its time was up."""

    code: int
    lines: tuple[str, ...]
    late: bool = False

    @property
    def ok(self) -> bool:
        return self.code == 0


def network(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the owner's environment that says how the network is reached."""
    return {name: environ[name] for name in _NETWORK if name in environ}


def _candidates(policy: str) -> Iterable[str]:
    """The packages of `apt-cache policy` that there is something to install of."""
    name = ""
    for line in policy.splitlines():
        if head := _HEAD.match(line):
            name = head[1]
        elif line.strip().startswith("Candidate:") and "(none)" not in line and name:
            yield name


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
