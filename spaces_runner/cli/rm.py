"""`spaces-runner rm`: forget Spaces, with their files, logs and secrets."""

from __future__ import annotations

from typing import Annotated

import typer

from spaces_runner.cli.face import AsJson, opened
from spaces_runner.errors import SpaceBusy


def rm(
    names: Annotated[list[str], typer.Argument(metavar="ID", help="Ids, or owner/names, as ps shows them.")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Stop those that are at work first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove Spaces: their files, logs, data and secrets. Environments stay for others; prune removes those."""
    from spaces_runner import control, looking

    with opened(as_json) as face:
        ids = [looking.find(name, face.settings) for name in names]
        busy = [space_id for space_id in ids if looking.status(space_id, face.settings).stage.active]
        if busy and not force:
            hint = f"Nothing was removed. spaces-runner rm --force {' '.join(names)} stops them first."
            raise SpaceBusy(f"At work: {', '.join(busy)}.", hint=hint)
        for space_id in ids:
            control.remove(space_id, face.settings)
            face.say(f"Removed {space_id}.")
        if as_json:
            face.data(ids)
