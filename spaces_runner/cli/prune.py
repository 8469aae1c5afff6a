"""`spaces-runner prune`: give back disk that nothing uses."""

from __future__ import annotations

from typing import Annotated

import typer

from spaces_runner.cli.face import AsJson, opened


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove environments and downloads that no Space uses."""
    from spaces_runner import control

    with opened(as_json) as face:
        face.data(control.prune(face.settings, dry_run))
