"""`spaces-runner ps`: the Spaces of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from spaces_runner.cli.face import AsJson, Face, Style, opened
from spaces_runner.format import age, table
from spaces_runner.types import SpaceStatus

HEADS = ("ID", "SPACE", "STAGE", "AGE", "GPU", "LOCAL_URL", "SHARE_URL")


def ps(
    running: Annotated[bool, typer.Option("--running", "-r", help="Only those at work.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the ids.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the Spaces of this machine."""
    from spaces_runner import control, looking

    with opened(as_json) as face:
        found = [status for status in looking.statuses(face.settings) if status.stage.active or not running]
        if quiet:  # tells no errors, so whatever failed stays
            for status in found:
                face.out(status.id)
            return
        if as_json:
            face.data(found)
        elif found:
            show(found, face)
        else:
            face.say("No Spaces. Start one:  spaces-runner run owner/name")
        for status in found:
            control.forget_if_never_was(status, face.settings)


def show(found: list[SpaceStatus], face: Face) -> None:
    """The table, and of Spaces that are shown this once why there is nothing of them."""
    from spaces_runner import control

    for number, line in enumerate(table(HEADS, map(row, found))):
        face.out(line, *(() if number else (Style.BOLD,)))
    for status in found:
        if status.error and control.never_was(status, face.settings):
            face.say()
            face.say(f"{status.id} is not kept:")
            face.error(status.error)


def row(status: SpaceStatus) -> tuple[str, ...]:
    """One line of the table. A stopped Space has no age: how long ago it began says nothing of it."""
    stage = f"{status.stage}:{status.step}" if status.step and status.stage.active else str(status.stage)
    since = status.ready_at or status.started_at if status.stage.active else None
    links = (status.local_url or "-", status.share_url or "-")
    return (status.id, status.space, stage, age(since) or "-", status.gpu or "-", *links)
