"""What a build's output says: which step it is at, and the lines that tell why it failed. Pure.

Podman says `STEP 3/9: RUN …` (`[1/2] STEP 3/9: …` with several stages), Docker's BuildKit `#7 [builder 3/9] RUN …`.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from spaces_runner.sanitize import clean_line

SHOWN = 30  # lines of an error
WIDTH = 500  # characters of each
_STEP = re.compile(r"(?:\[\d+/\d+\] )?STEP (\d+)/(\d+): (.+)|#\d+ \[(?:[\w.-]+)? *(\d+)/(\d+)\] (.+)")
# How Podman repeats what the lines before it say, once for each process that was between.
_ECHO = re.compile(r"subprocess exited with status \d+")
_CAUSES = (
    (
        re.compile(r"no space left on device", re.IGNORECASE),
        "The disk is full: free some, or move the engine's storage.",
    ),
    (
        re.compile(r"initializing source|pull access denied|failed to resolve source|manifest unknown|short-name"),
        "The base image cannot be fetched: check its name and the network, and log in where it is private.",
    ),
    (
        re.compile(r"secret.*(?:not found|no such|required)|no secret with id|id .* not found", re.IGNORECASE),
        "The Dockerfile wants a secret that was not given: pass it with --secret NAME.",
    ),
)
_OTHERWISE = "The Dockerfile's own step failed: the lines above say why, and the build log has the rest."


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a stage: its number, how many there are, its instruction."""

    number: int
    total: int
    instruction: str


@dataclass(slots=True)
class BuildLog:
    """Takes a build's lines as they come."""

    step: Step | None = None
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=SHOWN))

    def take(self, line: str) -> Step | None:
        """The step that this line begins, if it begins one."""
        line = clean_line(line)[:WIDTH]
        begun = read_step(line)
        if begun is not None:
            self.step = begun
            self._lines.clear()
        if line.strip() and not _ECHO.fullmatch(line):
            self._lines.append(line)
        return begun

    @property
    def lines(self) -> tuple[str, ...]:
        """The last step with what followed it."""
        return tuple(self._lines)

    @property
    def hint(self) -> str:
        """What to do about a failure that these lines tell of."""
        text = "\n".join(self._lines)
        return next((hint for pattern, hint in _CAUSES if pattern.search(text)), _OTHERWISE)


def read_step(line: str) -> Step | None:
    found = _STEP.match(line)
    if found is None:
        return None
    number, total, instruction = found.group(1, 2, 3) if found.group(1) else found.group(4, 5, 6)
    return Step(number=int(number), total=int(total), instruction=instruction.strip())
