"""Events of a run on standard error: lines for a log, a line that moves for a person at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

from spaces_runner.cli.face import Face, Style
from spaces_runner.format import STEP_WIDTH, amount, duration, event_lines, finding_lines
from spaces_runner.types import Event, Finding, Found, Progress, Severity, StageChanged, Step, StepFinished, StepStarted

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

QUIET_S = 10.0  # a plain log says after so long what goes on
FINDING_STYLES = {Severity.INFO: Style.DIM, Severity.WARNING: Style.YELLOW, Severity.ERROR: Style.RED}

Say = Callable[..., None]  # a line and its styles


class Renderer(Protocol):
    """Shows events while a run goes on; `tick` is called several times a second."""

    def show(self, event: Event) -> None: ...

    def tick(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Plain:
    """One line per step as it ends, and a sign of life where one takes long. No control sequences."""

    say: Say
    shown: set[Finding]
    clock: Callable[[], float] = time.monotonic
    _step: Step | None = None
    _begun: float = 0.0
    _spoke: float = 0.0
    _amount: str = ""

    def show(self, event: Event) -> None:
        match event:
            case StepStarted(step=step):
                self._step, self._begun, self._amount = step, self.clock(), ""
                self._spoke = self._begun
            case Progress():
                self._amount = amount(event)
            case StepFinished() | StageChanged():
                self._step = None
        say_event(event, self.say, self.shown)

    def tick(self) -> None:
        now = self.clock()
        if self._step and now - self._spoke >= QUIET_S:
            self._spoke = now
            self.say(f"{self._step:<{STEP_WIDTH}}{duration(now - self._begun):>7} … {self._amount}".rstrip(" "))

    def close(self) -> None:
        """Nothing is left on the screen."""


@dataclass(slots=True)
class Live:
    """As `Plain`, with the step that is at work in a line that redraws itself."""

    face: Face
    bars: Bars
    shown: set[Finding]
    _tasks: dict[Step, TaskID] = field(default_factory=dict)

    def show(self, event: Event) -> None:
        match event:
            case StepStarted(step=step):
                self._drop(step)
                self._tasks[step] = self.bars.add_task(step, total=None, amount="")
            case Progress(step=step) if step in self._tasks:
                self.bars.update(self._tasks[step], completed=event.done, total=event.total, amount=amount(event))
            case StepFinished(step=step):
                self._drop(step)
        say_event(event, self._say, self.shown)

    def tick(self) -> None:
        """The bars draw themselves."""

    def close(self) -> None:
        self.bars.stop()

    def _drop(self, step: Step) -> None:
        if (task := self._tasks.pop(step, None)) is not None:
            self.bars.remove_task(task)

    def _say(self, line: str, *styles: Style) -> None:
        from rich.text import Text

        text = Text.from_ansi(f"\x1b[{';'.join(styles)}m{line}") if styles and self.face.colour_err else Text(line)
        self.bars.console.print(text, soft_wrap=True)


def renderer(face: Face, shown: set[Finding]) -> Renderer:
    """The renderer that suits where standard error goes. Findings in `shown` are not shown again."""
    return live(face, sys.stderr, shown) if face.live else Plain(say=face.say, shown=shown)


def live(face: Face, terminal: TextIO, shown: set[Finding]) -> Live:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(
        file=terminal,
        force_terminal=True,
        no_color=not face.colour_err,
        highlight=False,
        markup=False,
        emoji=False,
    )
    bars = Bars(
        SpinnerColumn(),
        TextColumn(f"{{task.description:<{STEP_WIDTH - 2}}}", markup=False),
        TimeElapsedColumn(),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[amount]}", markup=False),
        console=console,
        transient=True,
    )
    bars.start()
    return Live(face=face, bars=bars, shown=shown)


def say_event(event: Event, say: Say, shown: set[Finding]) -> None:
    """The lines of an event; a finding is shown once, however often it is told."""
    if isinstance(event, Found):
        say_finding(event.finding, say, shown)
        return
    for line in event_lines(event):
        say(line)


def say_finding(finding: Finding, say: Say, shown: set[Finding]) -> None:
    if finding in shown:
        return
    shown.add(finding)
    first, *rest = finding_lines(finding)
    say(first, FINDING_STYLES[finding.severity])
    for line in rest:
        say(line)
