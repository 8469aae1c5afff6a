"""`spaces-runner logs`: what a Space printed, as harmless text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated

import typer

from spaces_runner.cli.face import AsJson, SpaceId, opened


def logs(
    name: SpaceId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is printed from now on.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="How many lines from the end; 0 is none.")] = 200,
    build: Annotated[
        bool, typer.Option("--build/--run", help="The log of the build, or of the running app.", show_default="run")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a Space's log. With --follow it goes on until the Space ends or Ctrl-C, which leaves the Space alone.

    With --json each line is an object of its own: {"line": "…"}.
    """
    from spaces_runner import looking

    with opened(as_json) as face:
        space_id = looking.find(name, face.settings)
        which = "build" if build else "run"
        asked = (space_id, face.settings, which, tail)
        lines: Iterable[str] = looking.log_follow(*asked) if follow else looking.log_tail(*asked)
        for line in lines:
            face.out(json.dumps({"line": line}) if as_json else line)
