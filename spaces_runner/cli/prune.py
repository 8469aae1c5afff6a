"""`spaces-runner prune`: give back disk that nothing uses."""

from __future__ import annotations

from typing import Annotated

import typer

from spaces_runner.cli.face import AsJson, opened
from spaces_runner.sanitize import clean_line


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    cache: Annotated[
        bool, typer.Option("--cache", help="Also the package cache: the next builds download again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove environments, mirrors and leftovers that no Space uses. Interpreters and models stay."""
    from spaces_runner import control

    with opened(as_json) as face:
        gone = control.prune(face.settings, dry_run, cache)
        if as_json:
            face.data(gone)
            return
        for kind, names in gone.items():
            for name in names:
                face.out(f"{kind}  {clean_line(name)}")
        if not any(gone.values()):
            face.say("Nothing to remove.")
        elif dry_run:
            face.say("Nothing was removed: this was a dry run.")
