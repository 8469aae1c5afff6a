"""A Space that was started, as a person watches it: its steps, its links or its failure, then its log."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from spaces_runner.cli.face import Face, Style
from spaces_runner.cli.progress import Plain, Renderer, renderer, say_finding
from spaces_runner.format import age, link_lines
from spaces_runner.types import SpaceStatus, Stage

POLL_S = 0.1
SWEEP_EVERY_S = 2.0
LAST_LINES_S = 2.0  # for what the app printed at its end


class Terminated(KeyboardInterrupt):
    """SIGTERM, which asks for the same as Ctrl-C."""


def attend(space_id: str, face: Face) -> SpaceStatus:
    """Show a run until the Space is RUNNING or has failed, and how that came out."""
    show = renderer(face)
    try:
        status = until(lambda status: settled(status.stage), space_id, face, show)
    finally:
        show.close()
    for finding in status.findings:
        say_finding(finding, face.say, show.shown)
    if status.stage is Stage.RUNNING:
        face.say(
            f"RUNNING after {age(status.started_at, status.ready_at)}: {status.space} ({status.id})",
            Style.BOLD,
            Style.GREEN,
        )
        for line in link_lines(status):
            face.say(line, Style.BOLD)
    else:
        say_end(status, face)
    return status


def settled(stage: Stage) -> bool:
    return stage not in (Stage.BUILDING, Stage.APP_STARTING)


def until(done: Callable[[SpaceStatus], bool], space_id: str, face: Face, show: Renderer) -> SpaceStatus:
    """Show events until `done`. It has no deadline: the shim has one, and a run that lost its shim is swept here."""
    from spaces_runner import control

    seen, sweep_at = 0, time.monotonic() + SWEEP_EVERY_S
    while True:
        if time.monotonic() >= sweep_at:
            control.sweep(face.settings)
            sweep_at = time.monotonic() + SWEEP_EVERY_S
        status = control.status(space_id, face.settings)  # before its events, so that none of them is missed
        for number, event in control.events(space_id, face.settings, seen):
            seen = number
            show.show(event)
        if done(status):
            return status
        show.tick()
        time.sleep(POLL_S)


def say_end(status: SpaceStatus, face: Face) -> None:
    """How a Space ended: the error, or that it was stopped."""
    if status.error is None:
        face.say(f"{status.stage}: {status.space} ({status.id})", Style.BOLD)
        return
    face.error(status.error)
    which = "--run" if status.stage is Stage.RUNTIME_ERROR else "--build"
    face.say(f"hint: spaces-runner logs {status.id} {which}")


def stay(space_id: str, face: Face) -> SpaceStatus:
    """Pass on what the app prints until it ends."""
    face.say("Ctrl-C stops it.", Style.DIM)
    show = Plain(say=face.say)  # a line that redraws itself would run into the app's
    ended = threading.Event()
    log = threading.Thread(target=pass_on, args=(space_id, face, ended), daemon=True)
    log.start()
    try:
        status = until(lambda status: not status.stage.active, space_id, face, show)
    finally:
        show.close()
        ended.set()
        log.join(LAST_LINES_S)
    return status


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
    from spaces_runner import control

    face.say(f"\nStopping {space_id} … (Ctrl-C again does not wait for it)")
    try:
        control.stop(space_id, face.settings)
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
