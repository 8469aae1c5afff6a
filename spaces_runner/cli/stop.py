"""`spaces-runner stop`: end Spaces with their whole families."""

from __future__ import annotations

from typing import Annotated

import typer

from spaces_runner.cli.face import AsJson, SpaceIds, opened


def stop(
    names: SpaceIds = None,
    everything: Annotated[bool, typer.Option("--all", help="Every Space that is at work.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop Spaces with every process they started.

    They are asked to end at first, and ended when they do not.
    """
    from spaces_runner import looking, stopping

    if bool(names) == everything:
        raise typer.BadParameter("name Spaces, or say --all")
    with opened(as_json) as face:
        active = (status.id for status in looking.statuses(face.settings) if status.stage.active)
        ids = list(active) if everything else [looking.find(name, face.settings) for name in names or ()]
        for space_id in ids:
            stopping.stop(space_id, face.settings)
            face.say(f"Stopped {space_id}.")
        if as_json:
            face.data([looking.status(space_id, face.settings) for space_id in ids])
