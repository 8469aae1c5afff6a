"""`spaces-runner core`: the inference core, which serves chat models to the page, to Spaces and to programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spaces_runner.cli import core_keys
from spaces_runner.cli.face import AsJson, Face, Style, opened

if TYPE_CHECKING:
    from spaces_runner.core import Command, CoreStatus

AUTO = "auto"

app = typer.Typer(
    no_args_is_help=True, help="The inference core: chat models of this machine, for the page, Spaces and programs."
)
app.add_typer(core_keys.app, name="key")

Preset = Annotated[
    str, typer.Option("--preset", metavar="WHICH", help="demo, 4bit, full, or auto: by what the GPU holds.")
]
Models = Annotated[
    Path | None, typer.Option("--models", metavar="FILE", help="A TOML file of your own models.", show_default=False)
]
ModelsDir = Annotated[
    Path | None,
    typer.Option(
        "--models-dir", metavar="DIR", help="Where weights lie, in a directory for each model.", show_default=False
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of the CPU to compute with.", show_default=False)
]


@app.command("start")
def start(  # noqa: PLR0913, PLR0917  # one parameter per option
    preset: Preset = AUTO,
    models: Models = None,
    models_dir: ModelsDir = None,
    threads: Threads = None,
    gpu: Annotated[str, typer.Option("--gpu", metavar="WHICH", help="auto, none, or a GPU's index or UUID.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Start the core, and return when it answers. One that runs is left as it is."""
    with opened(as_json) as face:
        wanted = command(face, preset=preset, models=models, models_dir=models_dir, threads=threads, gpu=gpu)
        found = started(face, wanted)
        if preset not in (AUTO, found.preset):
            face.say(f"It runs already, with preset {found.preset}. Stop it first to change that.", Style.YELLOW)
        show(found, face)


@app.command("stop")
def stop(as_json: AsJson = False) -> None:
    """Stop the core. Answers under way have some seconds to be done."""
    from spaces_runner import core

    with opened(as_json) as face:
        stopped = core.stop(face.settings)
        face.say("The core is stopped." if stopped else "There is no core to stop.")
        if as_json:
            face.data(stopped)


@app.command("status")
def status(as_json: AsJson = False) -> None:
    """Say whether the core runs, where, and with which token. Exits with 1 when it does not run."""
    from spaces_runner import core

    with opened(as_json) as face:
        found = core.status(face.settings)
        if found is not None and (found.stage.active or as_json):
            show(found, face)
        elif as_json:
            face.data(None)
        elif found is not None and found.error:
            face.error(found.error)
        else:
            face.say("The core does not run. Start it:  spaces-runner core start")
        if found is None or not found.stage.active:
            raise typer.Exit(1)


@app.command("logs")
def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is printed from now on.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="How many lines from the end; 0 is none.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Print the core's log."""
    from spaces_runner import core

    with opened(as_json) as face:
        for line in core.log_tail(face.settings, tail):
            face.out(json.dumps({"line": line}) if as_json else line)
        for line in core.log_follow(face.settings) if follow else ():
            face.out(json.dumps({"line": line}) if as_json else line)


def command(  # noqa: PLR0913  # one parameter per option
    face: Face,
    *,
    preset: str = AUTO,
    models: Path | None = None,
    models_dir: Path | None = None,
    threads: int | None = None,
    gpu: str = "auto",
) -> Command:
    """The core of the checkout that this command runs from. Raises CoreFailed where there is none."""
    from spaces_runner.core import Command, own_checkout

    return Command(
        python=sys.executable,
        root=own_checkout(),
        environ=face.environ,
        preset=preset,
        models=str(models) if models else None,
        models_dir=str(models_dir) if models_dir else None,
        threads=threads,
        gpu=gpu,
    )


def started(face: Face, wanted: Command) -> CoreStatus:
    """The core that runs, or the one that is started now; says so where that takes a while."""
    from spaces_runner import core

    found = core.status(face.settings)
    if found is None or not found.stage.active:
        face.say("Starting the inference core …", Style.DIM)
    return core.ensure(face.settings, wanted)


def show(found: CoreStatus, face: Face) -> None:
    """The token is shown to whoever may read it from the state directory anyway: the owner."""
    if face.as_json:
        face.data(found)
        return
    face.say(
        f"{found.stage}: the inference core, preset {found.preset}{f', on {found.gpu}' if found.gpu else ''}",
        Style.BOLD,
    )
    if found.why:
        face.say(found.why, Style.DIM)
    face.out(f"url    {found.url or '-'}")
    face.out(f"token  {found.token or '-'}")
