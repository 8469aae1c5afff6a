"""The verbs, put together in the order in which the help shows them."""

from __future__ import annotations

from typing import Annotated

import typer

from spaces_runner import __version__
from spaces_runner.cli import check, core, doctor, inspect, logs, patch, prune, ps, restart, rm, run, stop
from spaces_runner.cli.verb import Verb, Verbs

# Plain help and plain errors: what rich draws around them costs a tenth of a second at every start.
app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spaces-runner {__version__}")
        raise typer.Exit


@app.callback()
def spaces_runner(
    _version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run any Hugging Face Space on this machine's GPU, and get a public link.

    Data goes to standard output, everything else to standard error. The exit code is 0 when it worked, 1 when it did
    not, 2 when the command was misspelt and 130 after Ctrl-C.
    """


app.command("run", cls=Verb)(run.run)
app.command("check", cls=Verb)(check.check)
app.command("inspect", cls=Verb)(inspect.inspect)
app.command("ps", cls=Verb)(ps.ps)
app.command("logs", cls=Verb)(logs.logs)
app.command("stop", cls=Verb)(stop.stop)
app.command("restart", cls=Verb)(restart.restart)
app.command("rm", cls=Verb)(rm.rm)
app.command("patch", cls=Verb)(patch.patch)
app.add_typer(core.app, name="core")
app.command("doctor", cls=Verb)(doctor.doctor)
app.command("prune", cls=Verb)(prune.prune)
