"""The lines of a log -> causes with remedies. Pure; where the lines come from is no matter.

The causes are rows of `data/triage.toml`, from the specific to the general; a line that one row explains is not offered
to those below it. What brought the app down stands at the end of the log, so that comes first.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import accumulate
from typing import Any

from spaces_runner.distributions import package_of
from spaces_runner.sanitize import clean_line
from spaces_runner.types import Finding, Severity

MAX_LINES = 1500  # from the end
LINE_CHARS = 500
EVIDENCE_LINES = 12
TAIL_LINES = 80  # what an app says last

_COPY = "in a copy of the Space, and launch that directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    code: str
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    python: str
    require: str
    apt: str
    secret: str
    secondary: bool
    advisory: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    row: Row
    order: int
    line: int
    groups: tuple[str, ...]


def triage(
    lines: Sequence[str], *, sdk_version: str | None = None, python_version: str | None = None
) -> tuple[Finding, ...]:
    """What the log `lines` say went wrong, the likeliest cause first; () when nothing is known.

    `sdk_version` and `python_version` are what the app ran with: a remedy that asks for the same is left out.
    """
    log = _Log([clean_line(line)[:LINE_CHARS] for line in lines[-MAX_LINES:]])
    hits = sorted(_hits(log), key=lambda hit: _rank(hit, log))
    context = _Context(sdk_version=sdk_version, python_version=python_version)
    has_cause = any(not hit.row.secondary and not hit.row.advisory for hit in hits)
    return tuple(_finding(hit, log, context, has_cause) for hit in hits)


class _Log:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.text = "\n".join(lines)
        self._starts = [0, *accumulate(len(line) + 1 for line in lines)]

    def line_at(self, offset: int) -> int:
        return bisect_right(self._starts, offset) - 1

    def evidence(self, line: int) -> tuple[str, ...]:
        """The lines around `line` that show why: the frames above it, or what it goes on to say."""
        begin = line
        while begin > 0 and line - begin < 6 and self.lines[begin - 1].startswith(("  ", "Traceback")):
            begin -= 1
        end = line + 1
        while end < len(self.lines) and end - begin < EVIDENCE_LINES and _goes_on(self.lines[end]):
            end += 1
        return tuple(text for text in self.lines[begin:end] if text.strip())


def _goes_on(text: str) -> bool:
    return text.startswith(("  ", "\t", "╰", "│", "hint:")) and bool(text.strip())


@cache
def rows() -> tuple[Row, ...]:
    """The rows of the table, in its order."""
    text = resources.files("spaces_runner").joinpath("data/triage.toml").read_text("utf-8")
    return tuple(_row(data) for data in tomllib.loads(text)["row"])


def _row(data: dict[str, Any]) -> Row:
    texts = {name: data.get(name, "") for name in ("remedy", "python", "require", "apt", "secret")}
    return Row(
        code=data["code"],
        pattern=re.compile("|".join(f"(?:{pattern})" for pattern in data["patterns"]), re.MULTILINE),
        cause=data["cause"],
        secondary=data.get("secondary", False),
        advisory=data.get("advisory", False),
        **texts,
    )


def _hits(log: _Log) -> Iterator[_Hit]:
    """The last line that each row explains and no row above it does, one for each code and cause."""
    explained: set[int] = set()
    for order, row in enumerate(rows()):
        found: _Hit | None = None
        for match in row.pattern.finditer(log.text):
            first, line = log.line_at(match.start()), log.line_at(match.end())
            if line not in explained:
                groups = tuple(group for group in match.groups() if group is not None)
                found = _Hit(row=row, order=order, line=line, groups=groups)
            explained.update(range(first, line + 1))
        if found is not None:
            yield found


def _rank(hit: _Hit, log: _Log) -> tuple[bool, bool, bool, int]:
    """Causes before consequences, the end of the log before its beginning, the specific before the general."""
    early = hit.line < len(log.lines) - TAIL_LINES
    return hit.row.secondary, hit.row.advisory, early, hit.order


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    sdk_version: str | None
    python_version: str | None


def _finding(hit: _Hit, log: _Log, context: _Context, has_cause: bool) -> Finding:
    row = hit.row
    mild = row.advisory or (row.secondary and has_cause)
    return Finding(
        code=row.code,
        severity=Severity.WARNING if mild else Severity.ERROR,
        message=_filled(row.cause, hit) + _versions(row, context),
        remedy=_remedy(hit, context),
        lines=log.evidence(hit.line),
    )


def _versions(row: Row, context: _Context) -> str:
    if row.code.startswith("gradio-") and context.sdk_version:
        return f" The app ran with Gradio {context.sdk_version}."
    if row.code.startswith("python-") and context.python_version:
        return f" The app ran with Python {context.python_version}."
    return ""


def _remedy(hit: _Hit, context: _Context) -> str:
    row = hit.row
    if row.remedy:
        return _filled(row.remedy, hit)
    ways = []
    if row.python and not (context.python_version or "").startswith(row.python):
        ways.append(f"launch again with --python {row.python}")
    if row.secret:
        ways.append(f"launch again with --secret {_filled(row.secret, hit)}=…")
    if row.apt:
        packages = _filled(row.apt, hit)
        ways.append(f"install it with apt-get install {packages} (a Space asks for it in packages.txt)")
    if row.require:
        ways.append(f"add {_filled(row.require, hit)} to requirements.txt {_COPY}")
    sentence = ", or ".join(ways)
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def _filled(template: str, hit: _Hit) -> str:
    """`template` with {1}, {2} and {package} replaced by what the pattern found."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name == "package":
            return package_of(hit.groups[0]) if hit.groups else "it"
        at = int(name) - 1
        return hit.groups[at] if at < len(hit.groups) else "it"

    return re.sub(r"\{(\d|package)\}", value, template)
