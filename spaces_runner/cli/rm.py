"""`spaces-runner rm`: forget Spaces, with their files, logs and secrets."""

from __future__ import annotations

from typing import Annotated

import typer

from spaces_runner.cli.face import AsJson, opened
from spaces_runner.errors import SpaceBusy


def rm(
    names: Annotated[list[str], typer.Argument(metavar="ID", help="Ids or names, as ps shows them.")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Stop those that are at work first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove Spaces: their files, logs, data and secrets. Environments stay for others; prune removes those."""
    from spaces_runner import control

    with opened(as_json) as face:
        ids = [control.find(name, face.settings) for name in names]
        for space_id in ids:
            if not force and control.status(space_id, face.settings).stage.active:
                raise SpaceBusy(f"{space_id} is at work.", hint=f"spaces-runner rm --force {space_id} stops it first.")
            control.remove(space_id, face.settings)
            face.say(f"Removed {space_id}.")
        if as_json:
            face.data(ids)
