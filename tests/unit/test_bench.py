"""The benchmark's own arithmetic: bars, tables, medians, and what it says of a log."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import results
from bench.results import Row, publish, table
from bench.runner_logs import faults
from bench.runner_second import Ready, disk, told
from spaces_runner.logfile import LogWriter

LIMIT, KEEP, LINES = 17_000, 3, 1_000  # 100,000 bytes: five files are filled and a sixth is begun


@pytest.mark.parametrize(
    ("value", "bar", "holds"),
    [
        (1.15, "<= 1.15", True),
        (1.151, "<= 1.15", False),
        (4.0, ">= 4", True),
        (3.99, ">= 4", False),
        (0, "<= 0", True),
        (1e9, "", True),
    ],
)
def test_a_bar_includes_its_limit(value: float, bar: str, holds: bool) -> None:
    assert Row(name="x", value=value, unit="s", bar=bar).holds is holds


def test_the_table_says_what_does_not_hold() -> None:
    rows = [
        Row(name="fast", value=4.86, unit="times", bar=">= 4"),
        Row(name="slow", value=1.2, unit="times", bar="<= 1.15"),
        Row(name="beside", value=23.54, unit="s"),
    ]
    assert table(rows).splitlines()[2:] == [
        "| fast | 4.86 times | ≥ 4 | yes |",
        "| slow | 1.2 times | ≤ 1.15 | **no** |",
        "| beside | 23.54 s |  |  |",
    ]


@pytest.mark.parametrize(("value", "code"), [(1.0, 0), (2.0, 1)])
def test_what_is_published(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float, code: int
) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    assert publish("some", [Row(name="x", value=value, unit="times", bar="<= 1.5")]) == code
    assert json.loads((tmp_path / "some.json").read_text()) == [
        {"name": "x", "value": value, "unit": "times", "bar": "<= 1.5", "holds": code == 0}
    ]
    assert capsys.readouterr().out == (tmp_path / "some.md").read_text()
    assert f"on {results.machine()}." in (tmp_path / "some.md").read_text()


def test_the_published_results_have_the_agreed_fields() -> None:
    for file in results.RESULTS.glob("*.json"):
        for row in json.loads(file.read_text()):
            assert set(row) == {"name", "value", "unit", "bar", "holds"}
            assert Row(name=row["name"], value=row["value"], unit=row["unit"], bar=row["bar"]).holds is row["holds"]


@pytest.mark.parametrize("measured", sorted(results.RESULTS.glob("*.md")), ids=lambda path: path.name)
def test_the_readme_shows_what_was_measured(measured: Path) -> None:
    readme = (results.RESULTS.parents[1] / "README.md").read_text()
    assert measured.read_text().strip() in readme, f"put bench/results/{measured.name} in the README's place for it"


def test_readiness_is_told_by_medians_and_the_bar_is_on_the_environment() -> None:
    ready = [
        Ready(step=step, since_paste=step + 1, page=step + 3, environments=0, disk=0)
        for step in (0.1, 9.0, 0.2, 0.3, 0.2)
    ]
    rows = told("same", ready, 0.5)
    assert [(row.value, row.bar) for row in rows] == [(0.2, "<= 0.5"), (1.2, ""), (3.2, "")]


def test_a_file_of_two_names_is_on_disk_once(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one/file").write_bytes(os.urandom(100_000))
    once = disk(tmp_path)
    (tmp_path / "two/file").hardlink_to(tmp_path / "one/file")
    assert disk(tmp_path / "one", tmp_path / "two") == disk(tmp_path) == once >= 100_000


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What the runner's own writer makes of numbered lines in uneven chunks."""
    path = tmp_path / "run.log"
    writer = LogWriter(path, limit=LIMIT, keep=KEEP)
    text = b"".join(b"%09d %s\n" % (number, b"x" * 89) for number in range(LINES))
    for start in range(0, len(text), 7_777):
        writer.write(text[start : start + 7_777])
    writer.close()
    return path


def test_a_sound_log_has_no_faults(log: Path) -> None:
    assert not list(faults(log, LINES, LIMIT, KEEP))


def lose_a_line(log: Path) -> None:
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))


def swap_lines(log: Path) -> None:
    first, second, *rest = (log.parent / "run.log.1").read_bytes().splitlines(keepends=True)
    (log.parent / "run.log.1").write_bytes(b"".join([second, first, *rest]))


def lose_a_file(log: Path) -> None:
    (log.parent / "run.log.2").unlink()


def lose_the_count(log: Path) -> None:
    (log.parent / "run.log.dropped").unlink()


def miscount_files(log: Path) -> None:
    count = json.loads((log.parent / "run.log.dropped").read_text())
    (log.parent / "run.log.dropped").write_text(json.dumps({**count, "files": count["files"] + 1}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lose_a_line, "missing or out of order"),
        (swap_lines, "missing or out of order"),
        (lose_a_file, "3 files should be kept, and 2 are"),
        (lose_the_count, "and 0 counted"),
        (miscount_files, "files were filled"),
    ],
)
def test_a_damaged_log_is_found_out(log: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(log)
    assert said in "\n".join(faults(log, LINES, LIMIT, KEEP))
