"""How a run is shown: what a log gets, and what a terminal gets."""

from __future__ import annotations

import io

from spaces_runner.cli.face import Face, Style
from spaces_runner.cli.progress import Plain, live
from spaces_runner.settings import Settings
from spaces_runner.types import Event, Finding, Found, Progress, Severity, Step, StepFinished, StepStarted

FINDING = Finding(code="x", severity=Severity.WARNING, message="a [bold]marked[/] finding")


class Lines(list[str]):
    def say(self, line: str, *_styles: Style) -> None:
        self.append(line)


def events() -> list[Event]:
    return [
        StepStarted(at=0, step=Step.ENVIRONMENT),
        Progress(at=1, step=Step.ENVIRONMENT, done=3, total=9, unit="packages"),
        Found(at=2, finding=FINDING),
        Found(at=2, finding=FINDING),
        StepFinished(at=3, step=Step.ENVIRONMENT, seconds=3, note="9 packages"),
    ]


def test_a_log_gets_one_line_per_step_and_each_finding_once() -> None:
    lines = Lines()
    plain = Plain(say=lines.say, shown=set())
    for event in events():
        plain.show(event)
        plain.tick()
    assert lines == ["warning: a [bold]marked[/] finding", "environment    3.0s  9 packages"]


def test_a_log_gets_a_sign_of_life_from_a_long_step() -> None:
    lines = Lines()
    now = [0.0]
    plain = Plain(say=lines.say, shown=set(), clock=lambda: now[0])
    for event in events()[:2]:
        plain.show(event)
    for second in range(25):
        now[0] = float(second)
        plain.tick()
    assert lines == ["environment     10s … 3 of 9 packages", "environment     20s … 3 of 9 packages"]


def test_a_log_says_of_which_model_the_bytes_are() -> None:
    lines = Lines()
    now = [0.0]
    plain = Plain(say=lines.say, shown=set(), clock=lambda: now[0])
    plain.show(StepStarted(at=0, step=Step.MODELS))
    plain.show(Progress(at=1, step=Step.MODELS, done=10**9, total=4 * 10**9, unit="bytes", what="o/m"))
    now[0] = 11.0
    plain.tick()
    assert lines == ["models          11s … o/m: 1.0 GB of 4.0 GB"]


def test_a_terminal_gets_the_same_lines_and_markup_stays_text() -> None:
    face = Face(
        settings=Settings(home="/nowhere"), environ={}, as_json=False, colour_out=False, colour_err=False, live=True
    )
    screen = io.StringIO()
    shown = live(face, screen, set())
    for event in events():
        shown.show(event)
    shown.close()
    text = screen.getvalue()
    assert "a [bold]marked[/] finding" in text
    assert "environment    3.0s  9 packages" in text
    assert text.count("finding") == 1
