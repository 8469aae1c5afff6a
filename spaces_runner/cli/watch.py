"""A Space that was started, as a person watches it: its steps, its links or its failure, then its log."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType

import typer

from spaces_runner.cli.face import Face, Style
from spaces_runner.cli.progress import Plain, Renderer, renderer, say_finding
from spaces_runner.format import age, link_lines
from spaces_runner.sanitize import clean_line
from spaces_runner.types import Finding, SpaceStatus, Stage

STARTING_POLL_S, RUNNING_POLL_S = 0.03, 0.2  # a person waits for the first; a look takes half a millisecond
LAST_LINES_S = 2.0  # for what the app printed at its end


class Terminated(KeyboardInterrupt):
    """SIGTERM, which asks for the same as Ctrl-C."""


@dataclass(slots=True)
class Watch:
    """One run, watched in two stretches: until it answers, and while it does. No event is shown twice."""

    space_id: str
    face: Face
    seen: int = 0  # the number of the last event
    linked: str | None = None  # the public link that was shown
    shown: set[Finding] = field(default_factory=set)

    def attend(self) -> SpaceStatus:
        """Show the run until the Space is RUNNING or has failed, and how that came out."""
        show = renderer(self.face, self.shown)
        try:
            status = self._until(lambda status: settled(status.stage), show)
        finally:
            show.close()
        for finding in status.findings:
            say_finding(finding, self.face.say, self.shown)
        if status.stage is not Stage.RUNNING:
            say_end(status, self.face)
            return status
        took = age(status.started_at, status.ready_at)
        self.face.say(f"RUNNING after {took}: {clean_line(status.space)} ({status.id})", Style.BOLD, Style.GREEN)
        for line in link_lines(status):
            self.face.say(line, Style.BOLD)
        self.linked = status.share_url
        return status

    def stay(self, *, own: bool) -> SpaceStatus:
        """Pass on what the app prints until it ends. `own`: an interrupt ends the Space, not only the watching."""
        self.face.say("Ctrl-C stops it." if own else "Ctrl-C leaves it running.", Style.DIM)
        ended = threading.Event()
        log = threading.Thread(target=pass_on, args=(self.space_id, self.face, ended), daemon=True)
        log.start()
        try:  # in plain lines: one that redraws itself would run into the app's
            return self._until(lambda status: not status.stage.active, Plain(say=self.face.say, shown=self.shown))
        finally:
            ended.set()
            log.join(LAST_LINES_S)

    def _until(self, done: Callable[[SpaceStatus], bool], show: Renderer) -> SpaceStatus:
        """Show events until `done`. The deadline is the shim's; asking for the status ends a run that lost it."""
        from spaces_runner import looking

        settings = self.face.settings
        while True:
            status = looking.status(self.space_id, settings)  # before its events, so that none of them is missed
            for number, event in looking.events(self.space_id, settings, self.seen):
                show.show(event)
                self.seen = number
            if done(status):
                return status
            self._say_late_link(status)
            show.tick()
            time.sleep(RUNNING_POLL_S if status.stage is Stage.RUNNING else STARTING_POLL_S)

    def _say_late_link(self, status: SpaceStatus) -> None:
        """A public link can come after RUNNING, and change."""
        if status.stage is Stage.RUNNING and status.share_url and status.share_url != self.linked:
            self.linked = status.share_url
            self.face.say(f"  Public  {clean_line(status.share_url)}", Style.BOLD)


def settled(stage: Stage) -> bool:
    return stage not in (Stage.BUILDING, Stage.APP_STARTING)


def say_end(status: SpaceStatus, face: Face) -> None:
    """How a Space ended: the error, or that it was stopped."""
    from spaces_runner import control

    if status.error is None:
        face.say(f"{status.stage}: {clean_line(status.space)} ({status.id})", Style.BOLD)
        return
    told = {line for finding in status.findings for line in finding.lines}  # a finding has shown them already
    face.error(replace(status.error, lines=()) if told.issuperset(status.error.lines) else status.error)
    if control.never_was(status, face.settings):
        return  # it is not kept
    which = "--run" if status.stage is Stage.RUNTIME_ERROR else "--build"
    face.say(f"hint: spaces-runner logs {status.id} {which}")


def pass_on(space_id: str, face: Face, ended: threading.Event) -> None:
    """The run log from its beginning, line by line: data, unless data is JSON."""
    from spaces_runner import logfile

    path = face.settings.space(space_id).run_log
    stream = sys.stderr if face.as_json else sys.stdout
    for line in logfile.follow(path, going=lambda: not ended.is_set(), offset=0):
        print(line, file=stream, flush=True)


@contextmanager
def stopping(space_id: str, face: Face) -> Iterator[None]:
    """Ctrl-C or SIGTERM inside ends the Space and then the command."""
    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        end(space_id, face)
        raise typer.Exit(143 if isinstance(interrupt, Terminated) else 130) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


def terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def end(space_id: str, face: Face) -> None:
    from spaces_runner import stopping

    face.say(f"\nStopping {space_id} … (Ctrl-C again does not wait for it)")
    try:
        stopping.stop(space_id, face.settings)
    except KeyboardInterrupt:
        face.say(f"{space_id} was asked to stop. See:  spaces-runner ps")
    else:
        face.say(f"Stopped {space_id}.")


@contextmanager
def leaving(space_id: str, face: Face) -> Iterator[None]:
    """Ctrl-C inside ends the command and leaves the Space."""
    try:
        yield
    except KeyboardInterrupt:
        face.say(f"\n{space_id} goes on. See:  spaces-runner ps  End it:  spaces-runner stop {space_id}")
        raise typer.Exit(130) from None
