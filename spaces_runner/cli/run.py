"""`spaces-runner run`: from a Space's address to its link."""

from __future__ import annotations

from typing import Annotated

import typer

from spaces_runner.cli import core
from spaces_runner.cli.face import AsJson, Face, Style, opened
from spaces_runner.cli.options import (
    AppArgs,
    Apt,
    Env,
    Gpu,
    Model,
    NoWait,
    PythonVersion,
    Refresh,
    Secret,
    Share,
    SpaceText,
    Unsandboxed,
    secrets,
    space_ref,
    variables,
)
from spaces_runner.cli.watch import Watch, leaving, say_end, stopping
from spaces_runner.types import RunOptions, Stage


def run(  # noqa: PLR0913, PLR0917  # one parameter per option
    space: SpaceText,
    args: AppArgs = None,
    detach: Annotated[
        bool,
        typer.Option("--detach", "-d", help="Return once it is RUNNING or has failed, and leave it running."),
    ] = False,
    no_wait: NoWait = False,
    name: Annotated[str | None, typer.Option("--name", help="The name to give it.", show_default=False)] = None,
    env: Env = None,
    secret: Secret = None,
    gpu: Gpu = "auto",
    python: PythonVersion = None,
    share: Share = True,
    model: Model = None,
    apt: Apt = False,
    refresh: Refresh = False,
    unsafe_no_sandbox: Unsandboxed = False,
    as_json: AsJson = False,
) -> None:
    """Run a Space and print its links.

    Without --detach the app's log follows until Ctrl-C, which stops the Space. What stands after -- goes to the app.
    """
    from spaces_runner import control

    with opened(as_json) as face:
        ref = space_ref(space, face)
        values = secrets(secret, face)
        options = RunOptions(
            share=share,
            gpu=gpu,
            python=python,
            variables=variables(env, face),
            secret_names=tuple(values),
            app_args=tuple(args or ()),
            refresh=refresh,
            apt=apt,
            model=model,
            sandbox=not unsafe_no_sandbox,
        )
        if model:
            core.started(face, core.command(face))
        request = control.Request(ref=ref, options=options, secrets=values, name=name)
        started = control.start(request, face.settings)
        if not started.fresh:
            what = f"{started.id} is at work already and keeps its options. Stop it first to change them."
            face.say(what, Style.YELLOW)
        follow(started.id, face, detach=detach, no_wait=no_wait, own=started.fresh)


def follow(space_id: str, face: Face, *, detach: bool, no_wait: bool, own: bool = True) -> None:
    """Watch a Space for as long as was asked for. Exits with 1 unless it came to RUNNING.

    `own`: this command started it, so that the end of this command ends it, unless it was asked to `detach`.
    """
    from spaces_runner import control

    if no_wait:
        face.say(f"Started {space_id}. See:  spaces-runner ps")
        show_data(space_id, face)
        return
    watch = Watch(space_id=space_id, face=face)
    with (stopping if own and not detach else leaving)(space_id, face):
        status = watch.attend()
        if detach or face.as_json:
            show_data(space_id, face)
        if status.stage is not Stage.RUNNING:
            control.forget_if_never_was(status, face.settings)
            raise typer.Exit(1)
        if detach:
            face.say(f"hint: spaces-runner logs {space_id} -f  |  spaces-runner stop {space_id}")
            return
        status = watch.stay(own=own)
    say_end(status, face)
    raise typer.Exit(1 if status.stage.failed else 0)


def show_data(space_id: str, face: Face) -> None:
    """The Space as JSON where that was asked for; else its id, which is what another command takes."""
    from spaces_runner import looking

    if face.as_json:
        face.data(looking.status(space_id, face.settings))
    else:
        face.out(space_id)
