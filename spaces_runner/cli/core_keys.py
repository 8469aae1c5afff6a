"""`spaces-runner core key`: keys of programs that ask the models, through the page's link or on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from spaces_runner.cli.face import AsJson, opened

app = typer.Typer(no_args_is_help=True, help="Keys for programs: each is named, shown once, and can be revoked.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called: the program that has it.")]


@app.command("add")
def add(name: Name, as_json: AsJson = False) -> None:
    """Make a key and print it. Only its digest is kept, so it is not shown again."""
    from spaces_runner.core import keys

    with opened(as_json) as face:
        token = keys.issue(face.settings, name)
        if as_json:
            face.data({"name": name, "key": token})
            return
        face.out(token)
        face.say("It opens /v1 and /tgi of the page's link and of the core, and is not shown again.")


@app.command("list")
def show(as_json: AsJson = False) -> None:
    """List the names of the keys."""
    from spaces_runner.core import keys

    with opened(as_json) as face:
        names = keys.issued(face.settings)
        if as_json:
            face.data(list(names))
        for name in () if as_json else names:
            face.out(name)
        if not names:
            face.say("There are no keys. Make one:  spaces-runner core key add NAME")


@app.command("rm")
def rm(name: Name, as_json: AsJson = False) -> None:
    """Revoke a key: it opens nothing from now on."""
    from spaces_runner.core import keys

    with opened(as_json) as face:
        keys.withdraw(face.settings, name)
        face.say(f"The key of {name} opens nothing any more.")
        if as_json:
            face.data({"name": name})
