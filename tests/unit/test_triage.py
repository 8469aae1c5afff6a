"""Logs as they are met, and the cause and the remedy that must come out first."""

import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from spaces_runner.triage import EVIDENCE_LINES, rows, triage
from spaces_runner.types import Severity

DATA = tomllib.loads((Path(__file__).parent / "data" / "triage.toml").read_text())["sample"]
SAMPLES: dict[str, tuple[str, str, str]] = {
    sample["name"]: (sample["log"].rstrip("\n"), sample["code"], sample["remedy"]) for sample in DATA
}
APP = 'Traceback (most recent call last):\n  File "/srv/app/app.py", line 3, in <module>\n    import gradio as gr\n'


@pytest.mark.parametrize(("log", "code", "remedy"), SAMPLES.values(), ids=SAMPLES)
def test_the_first_finding_is_the_cause(log: str, code: str, remedy: str) -> None:
    findings = triage(log.split("\n"))
    assert findings, "nothing found"
    first = findings[0]
    assert first.code == code
    assert remedy in first.remedy
    assert "{" not in first.message + first.remedy
    assert first.message.endswith(".")
    assert 1 <= len(first.lines) <= EVIDENCE_LINES


def test_every_row_has_a_sample() -> None:
    logs = [log for log, _, _ in SAMPLES.values()]
    assert [row.cause for row in rows() if not any(row.pattern.search(log) for log in logs)] == []


def test_what_follows_from_a_cause_comes_after_it_and_is_milder() -> None:
    findings = triage(SAMPLES["pydantic and the schema"][0].split("\n"))
    assert [finding.code for finding in findings] == ["pydantic-too-new", "localhost-blocked"]
    assert [finding.severity for finding in findings] == [Severity.ERROR, Severity.WARNING]


def test_the_end_of_the_log_counts_more_than_its_beginning() -> None:
    log = ["Could not create share link.", "RuntimeWarning: Couldn't find ffmpeg or avconv - defaulting to ffmpeg"]
    log += [f"request {number}" for number in range(200)] + (APP + "KeyError: 'MY_TOKEN'").split("\n")
    assert [finding.code for finding in triage(log)] == ["missing-secret", "ffmpeg-missing", "share-failed"]


def test_a_line_is_explained_once() -> None:
    assert [
        finding.code for finding in triage((APP + "ModuleNotFoundError: No module named 'pkg_resources'").split("\n"))
    ] == ["setuptools-too-new"]


def test_a_remedy_that_was_in_force_is_left_out() -> None:
    log = SAMPLES["pyaudioop"][0].split("\n")
    assert "--python" not in triage(log, python_version="3.12.4")[0].remedy
    assert "Python 3.13.1" in triage(log, python_version="3.13.1")[0].message
    assert "Gradio 6.31.0" in triage(SAMPLES["enable_queue"][0].split("\n"), sdk_version="6.31.0")[0].message


HEALTHY = """
* Running on local URL:  http://127.0.0.1:41000
INFO:     127.0.0.1:52114 - "GET /config HTTP/1.1" 200 OK
Downloading (…)lve/main/config.json: 100%|##########| 571/571 [00:00<00:00, 1.2MB/s]
UserWarning: The 'theme' parameter is deprecated
User: my key error was killed, no space for a driver
"""


@pytest.mark.parametrize("log", ["", HEALTHY], ids=["nothing", "an app that runs"])
def test_nothing_is_made_up(log: str) -> None:
    assert triage(log.split("\n")) == ()


def test_lines_are_harmless() -> None:
    log = ["\x1b[31mModuleNotFoundError: No module named 'nowhere\x1b[0m'\u202e", "\x1b[2J"]
    finding = triage(log)[0]
    assert "nowhere" in finding.message
    assert not any("\x1b" in line or "\u202e" in line for line in finding.lines)


@pytest.mark.parametrize(
    "line", ["a" * 100_000, "Failed to build " * 5000, "'" * 50_000, "set " * 30_000, "No module named " * 5000]
)
def test_hostile_logs_end_soon(line: str) -> None:
    begun = time.perf_counter()
    triage([line] * 300)
    assert time.perf_counter() - begun < 10


@pytest.mark.parametrize(
    ("source", "message", "remedy"),
    [
        ("x = 1\nprint 'hello'\n", "app.py, line 2, is Python 2 (print without parentheses)", "print(…)"),
        ("def f(:\n    pass\n", "app.py, line 1, is not valid Python: invalid syntax", "copy of the Space"),
        ("if True:\nx = 1\n", "app.py, line 2, is not valid Python: expected an indented block", "copy of the Space"),
        ("type Name = str\n", "app.py, line 1, uses type parameters, which came with Python 3.12", "--python 3.12"),
        ("def first[T](x: T): ...\n", "app.py, line 1, uses type parameters", "--python 3.12"),
    ],
    ids=["print", "syntax", "indentation", "type", "parameters"],
)
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python reads what is too new in the tests")
def test_a_syntax_error_says_where_it_is(tmp_path: Path, source: str, message: str, remedy: str) -> None:
    (tmp_path / "app.py").write_text(source)
    command = [sys.executable, str(tmp_path / "app.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    (finding,) = triage(done.stderr.splitlines(), python_version="3.11.7")
    assert finding.message.startswith(message), finding
    assert remedy in finding.remedy
    assert finding.lines[-1].startswith(("SyntaxError", "IndentationError"))


def test_match_before_python_3_10() -> None:
    log = ['  File "/s/app.py", line 3', "    match x:", "          ^", "SyntaxError: invalid syntax"]
    (finding,) = triage(log, python_version="3.9.18")
    assert (finding.code, "--python 3.10" in finding.remedy) == ("python-too-old", True)
