"""`spaces-runner doctor`: what this machine lacks."""

from __future__ import annotations

import typer

from spaces_runner.cli.face import AsJson, Face, Style, opened

MARKS = {"ok": Style.GREEN, "warn": Style.YELLOW, "fail": Style.RED}


def doctor(as_json: AsJson = False) -> None:
    """Check what a launch needs of this machine. Fails only when no Space at all could start."""
    from spaces_runner.doctor import Check, examine, healthy

    def show(face: Face, check: Check) -> None:
        face.out(f"{check.verdict:<5} {check.name:<14} {check.detail}", MARKS[check.verdict])
        if check.remedy:
            face.out(f"{'':21}{check.remedy}")

    with opened(as_json) as face:
        checks = examine(face.settings)
        if as_json:
            face.data(checks)
        else:
            for check in checks:
                show(face, check)
        if not healthy(checks):
            raise typer.Exit(1)
