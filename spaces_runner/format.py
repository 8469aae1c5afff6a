"""Values as text for people: durations, sizes, tables, findings, errors, events. Pure; knows no screen and no colour.

Texts of a Space (messages, paths, log lines) are made harmless here once more, so that no face has to think of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from spaces_runner.sanitize import clean_line
from spaces_runner.types import (
    ErrorInfo,
    Event,
    Exited,
    Finding,
    Found,
    Progress,
    Severity,
    SpaceStatus,
    Stage,
    StageChanged,
    StepFinished,
)

STEP_WIDTH = 12  # the longest name of a step, and a gap


def duration(seconds: float) -> str:
    """0.8s, 12s, 3m 20s, 2h 5m, 4d 1h: at most two units."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return _two(whole, 60, "m", 1, "s")
    if whole < 86400:
        return _two(whole, 3600, "h", 60, "m")
    return _two(whole, 86400, "d", 3600, "h")


def _two(whole: int, unit: int, name: str, part: int, part_name: str) -> str:
    rest = whole % unit // part
    return f"{whole // unit}{name} {rest}{part_name}" if rest else f"{whole // unit}{name}"


def size(count: int) -> str:
    """512 B, 3.4 MB, 1.2 GB: powers of 1000, as the Hub shows them."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def age(since: str | None, until: str | None = None) -> str:
    """The time between two ISO 8601 times, `until` being now by default; "" where there is no `since`."""
    if not since:
        return ""
    end = datetime.fromisoformat(until) if until else datetime.now(UTC)
    return duration((end - datetime.fromisoformat(since)).total_seconds())


def amount(event: Progress) -> str:
    """12 of 40 packages, 3.4 MB of 10.0 MB, 7 objects, gpt2: 1.0 MB of 5.0 MB."""
    what = f"{clean_line(event.what)}: " if event.what else ""
    if event.unit == "bytes":
        return what + (size(event.done) if event.total is None else f"{size(event.done)} of {size(event.total)}")
    done = str(event.done) if event.total is None else f"{event.done} of {event.total}"
    return f"{what}{done} {event.unit}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, two spaces apart, nothing after the last."""
    cells = [list(heads), *([clean_line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def finding_lines(finding: Finding) -> list[str]:
    """What it is, the lines that say so, and what can be done."""
    mark = "note" if finding.severity is Severity.INFO else finding.severity.value
    lines = [f"{mark}: {clean_line(finding.message)}"]
    lines += [f"  | {clean_line(line)}" for line in finding.lines]
    return [*lines, f"  hint: {clean_line(finding.remedy)}"] if finding.remedy else lines


def error_lines(error: ErrorInfo) -> list[str]:
    """The stage, one sentence, the lines that matter and what to do next."""
    where = f"{error.stage} in {error.step}" if error.step else str(error.stage)
    lines = [f"{where}: {clean_line(error.message)}"]
    lines += [f"  | {clean_line(line)}" for line in error.lines]
    return [*lines, f"hint: {clean_line(error.hint)}"] if error.hint else lines


def step_line(event: StepFinished) -> str:
    note = f"  {clean_line(event.note)}" if event.note else ""
    return f"{event.step:<{STEP_WIDTH}}{duration(event.seconds):>7}{note}"


def event_lines(event: Event) -> list[str]:
    """What a plain log of a run says about `event`: often nothing. A failure is said by whoever shows the end."""
    match event:
        case StepFinished():
            return [step_line(event)]
        case Found():
            return finding_lines(event.finding)
        case Exited(code=code, signal=signal):
            return [f"The app ended by signal {signal}." if signal else f"The app ended with exit code {code}."]
        case StageChanged(stage=Stage.BUILDING | Stage.APP_STARTING | Stage.RUNNING):
            return []  # steps and links tell more
        case StageChanged(stage=stage):
            return [] if stage.failed else [str(stage)]
    return []


def link_lines(status: SpaceStatus) -> list[str]:
    """Where a running Space answers."""
    lines = [f"  Local   {clean_line(status.local_url)}"] if status.local_url else []
    return [*lines, f"  Public  {clean_line(status.share_url)}"] if status.share_url else lines
