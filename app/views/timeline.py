"""What a run has said so far -> one row for each step, with its time and progress. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.views.text import STEP_TITLES, escape, since
from spaces_runner.format import amount, duration
from spaces_runner.types import (
    Event,
    Exited,
    Failed,
    Progress,
    Stage,
    StageChanged,
    Step,
    StepFinished,
    StepStarted,
)


class State(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


_MARKS = {State.RUNNING: "●", State.DONE: "✓", State.FAILED: "✕"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One step of a run. `seconds` is known once it has ended."""

    state: State
    begun: float
    seconds: float | None = None
    note: str = ""
    progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The steps of the newest run of a Space, folded from its events. What was found on the way is its status's."""

    rows: dict[Step, Row] = field(default_factory=dict)

    def after(self, events: Iterable[Event]) -> Timeline:
        """This timeline with `events` added, oldest first."""
        timeline = self
        for event in events:
            timeline = timeline._plus(event)
        return timeline

    def _plus(self, event: Event) -> Timeline:
        match event:
            case StepStarted(step=Step.CLONE):  # a new run begins
                return Timeline(rows={Step.CLONE: Row(state=State.RUNNING, begun=event.at)})
            case StepStarted():
                return self._with(event.step, Row(state=State.RUNNING, begun=event.at))
            case Progress():
                row = self.rows.get(event.step) or Row(state=State.RUNNING, begun=event.at)
                return self._with(event.step, replace(row, progress=event))
            case StepFinished():
                begun = event.at - event.seconds
                done = Row(state=State.DONE, begun=begun, seconds=event.seconds, note=event.note)
                return self._with(event.step, done)
            case Failed():
                return self._ended(event.at, State.FAILED)
            case StageChanged():
                return self._entered(event)
            case Exited(code=code):
                return self._ended(event.at, State.FAILED if code else State.DONE)
        return self

    def _entered(self, event: StageChanged) -> Timeline:
        """The app's start is told by stages alone: it begins with APP_STARTING and is done when RUNNING."""
        match event.stage:
            case Stage.APP_STARTING:
                return self._with(Step.LAUNCH, Row(state=State.RUNNING, begun=event.at))
            case Stage.RUNNING:
                started = self._ended(event.at, State.DONE)
                return started._with(Step.SHARE, started._shared(event.at)) if event.share_url else started
            case stage if not stage.active:
                return self._ended(event.at, State.FAILED if stage.failed else State.DONE)
        return self

    def _shared(self, at: float) -> Row:
        """The link was asked for as soon as the app answered."""
        launch = self.rows.get(Step.LAUNCH)
        begun = launch.begun + launch.seconds if launch and launch.seconds is not None else at
        return self.rows.get(Step.SHARE) or Row(state=State.DONE, begun=begun, seconds=at - begun)

    def _with(self, step: Step, row: Row) -> Timeline:
        return replace(self, rows={**self.rows, step: row})

    def _ended(self, at: float, state: State) -> Timeline:
        rows = {
            step: replace(row, state=state, seconds=at - row.begun) if row.state is State.RUNNING else row
            for step, row in self.rows.items()
        }
        return replace(self, rows=rows)


def render(timeline: Timeline, now: float) -> str:
    """The steps as a list, in the order in which they happen."""
    items = "".join(_row(step, timeline.rows[step], now) for step in Step if step in timeline.rows)
    return f'<ol class="sr-timeline" aria-label="Steps">{items}</ol>' if items else ""


def _row(step: Step, row: Row, now: float) -> str:
    elapsed = since(row.begun, now) if row.seconds is None else f"<time>{duration(row.seconds)}</time>"
    note = f'<span class="sr-note">{escape(row.note)}</span>' if row.note else ""
    progress = _progress(row.progress) if row.progress and row.state is State.RUNNING else ""
    return (
        f'<li class="sr-step sr-{row.state.value}"><span class="sr-mark" title="{row.state.value}">'
        f'{_MARKS[row.state]}</span><span class="sr-title">{STEP_TITLES[step]}{note}</span>{elapsed}{progress}</li>'
    )


def _progress(progress: Progress) -> str:
    shown = f'<span class="sr-amount">{escape(amount(progress))}</span>'
    if not progress.total:
        return shown
    return f'<progress max="{progress.total}" value="{min(progress.done, progress.total)}"></progress>{shown}'
