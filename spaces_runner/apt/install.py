"""Has apt-get install packages: without questions, without what they merely recommend, and without removing any."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spaces_runner.apt.system import Done, System
from spaces_runner.errors import AptFailed
from spaces_runner.report import Reporter
from spaces_runner.types import Step

UPDATE_S, INSTALL_S = 300.0, 1800.0
_OPTIONS = (
    "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=2",
    "-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30",
)  # fmt: skip
# A changed configuration file stays as the owner has it.
_INSTALL = ("install", "--yes", "--no-install-recommends", "--no-remove", "-o", "Dpkg::Options::=--force-confold")
_COUNT = re.compile(r"^(\d+) (?:upgraded|packages upgraded), (\d+) newly installed")
_MATTERS = re.compile(
    r"^(?:[EW]:|Err:|dpkg: |dpkg-deb: |Errors were|The following packages have unmet| [a-z0-9.+-]+ : )"
)
_INTERRUPTED = "dpkg was interrupted"
_LINES = 12
HINT = "Launch without --apt to see whether the app does without, or install them by hand."


def update(apt: str, system: System, report: Reporter) -> Done:
    """Fetch the package lists. What fails is left to be found out by what is then missing."""
    report.log("Fetching apt's package lists")
    return system.run((apt, *_OPTIONS, "update"), report.log, UPDATE_S)


def install(apt: str, names: tuple[str, ...], system: System, report: Reporter) -> None:
    """Raises AptFailed, with the lines that say why. What an interrupted installation left is put right first."""
    command = (apt, *_OPTIONS, *_INSTALL, "--", *names)
    report.log(f"Installing {' '.join(names)}")
    done = system.run(command, _Progress(report).line, INSTALL_S)
    dpkg = system.program("dpkg")
    if not done.ok and dpkg and any(_INTERRUPTED in line for line in done.lines):
        system.run((dpkg, "--configure", "-a"), report.log, INSTALL_S)
        done = system.run(command, _Progress(report).line, INSTALL_S)
    if not done.ok:
        raise failure(f"apt-get could not install {', '.join(names)}", done)


def failure(message: str, done: Done) -> AptFailed:
    how = ": it did not end in time." if done.late else "."
    return AptFailed(message + how, hint=HINT, lines=_telling(done))


def _telling(done: Done) -> tuple[str, ...]:
    """The lines that say why, else the last ones."""
    matter = [line for line in done.lines if _MATTERS.match(line)]
    return tuple((matter or [line for line in done.lines if line.strip()])[-_LINES:])


@dataclass(slots=True)
class _Progress:
    """apt-get's lines to the log, and to a count of packages."""

    report: Reporter
    total: int = 0
    done: int = 0

    def line(self, line: str) -> None:
        self.report.log(line)
        if counted := _COUNT.match(line):
            self.total = int(counted[1]) + int(counted[2])
        self.done += line.startswith("Setting up ")
        if self.total:
            self.report.progress(Step.PACKAGES, min(self.done, self.total), self.total, "packages")
