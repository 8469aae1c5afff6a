"""`spaces-runner restart`: start a Space again, as it was started before."""

from __future__ import annotations

from spaces_runner.cli.face import AsJson, SpaceId, opened
from spaces_runner.cli.options import NoWait
from spaces_runner.cli.run import follow


def restart(name: SpaceId, no_wait: NoWait = False, as_json: AsJson = False) -> None:
    """Stop a Space if it is at work and start it again. Returns once it is RUNNING or has failed."""
    from spaces_runner import control, looking

    with opened(as_json) as face:
        space_id = looking.find(name, face.settings)
        control.restart(space_id, face.settings)
        follow(space_id, face, detach=True, no_wait=no_wait)
