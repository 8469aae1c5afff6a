"""Values as text for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from spaces_runner import format as text
from spaces_runner.types import (
    ErrorInfo,
    Finding,
    Found,
    Progress,
    Severity,
    Stage,
    StageChanged,
    Step,
    StepFinished,
    StepStarted,
)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.0s"),
        (0.84, "0.8s"),
        (9.99, "10.0s"),
        (12.4, "12s"),
        (59.6, "1m"),
        (200, "3m 20s"),
        (7500, "2h 5m"),
        (360000, "4d 4h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (3_400_000, "3.4 MB"), (1_250_000_000, "1.2 GB"), (5 * 10**15, "5000.0 TB")],
)
def test_sizes_are_those_of_the_hub(count: int, shown: str) -> None:
    assert text.size(count) == shown


def test_an_age_is_counted_from_an_iso_time() -> None:
    assert text.age("2026-01-02T00:00:00+00:00", "2026-01-02T01:05:00+01:00") == "5m"
    assert text.age((datetime.now(UTC) - timedelta(hours=3)).isoformat()) == "3h"
    assert text.age(None) == ""


def test_progress_says_what_is_known() -> None:
    def shown(done: int, total: int | None, unit: str) -> str:
        return text.amount(Progress(at=0, step=Step.LFS, done=done, total=total, unit=unit))

    assert shown(3_400_000, 10_000_000, "bytes") == "3.4 MB of 10.0 MB"
    assert shown(12, 40, "packages") == "12 of 40 packages"
    assert shown(7, None, "objects") == "7 objects"
    one = Progress(at=0, step=Step.MODELS, done=1000, total=5_000_000, unit="bytes", what="o/m\x1b[2J")
    assert text.amount(one) == "o/m: 1.0 kB of 5.0 MB"


def test_a_table_is_aligned_and_harmless() -> None:
    lines = text.table(("ID", "SPACE"), [("a", "one\x1b[2J/two"), ("longer", "x")])
    assert lines == ["ID      SPACE", "a       one/two", "longer  x"]


def test_an_error_names_stage_lines_and_hint() -> None:
    error = ErrorInfo(
        code="unresolvable",
        stage=Stage.BUILD_ERROR,
        step=Step.ENVIRONMENT,
        message="No such package.",
        hint="Remove it.",
        lines=("nope==9", "\x1b]0;title\x07bad"),
    )
    assert text.error_lines(error) == [
        "BUILD_ERROR in environment: No such package.",
        "  | nope==9",
        "  | bad",
        "hint: Remove it.",
    ]


def test_events_become_one_line_per_step_and_findings() -> None:
    finding = Finding(code="x", severity=Severity.WARNING, message="M", remedy="R", lines=("L",))
    finished = StepFinished(at=0, step=Step.CLONE, seconds=1.5, note="3 files")
    assert text.event_lines(StepStarted(at=0, step=Step.CLONE)) == []
    assert text.event_lines(finished) == ["clone          1.5s  3 files"]
    assert text.event_lines(Found(at=0, finding=finding)) == ["warning: M", "  | L", "  hint: R"]
    assert text.event_lines(StageChanged(at=0, stage=Stage.RUNNING)) == []
    assert text.event_lines(StageChanged(at=0, stage=Stage.STOPPED)) == ["STOPPED"]
