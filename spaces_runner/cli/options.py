"""The options that several verbs take, and what they mean."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from spaces_runner.cli.face import Face, Style
from spaces_runner.types import RefKind, SpaceRef

SpaceText = Annotated[
    str,
    typer.Argument(
        metavar="SPACE", help="A Space's address, owner/name, owner/name@revision, a directory, or a git address."
    ),
]
AppArgs = Annotated[list[str] | None, typer.Argument(metavar="ARGS", help="Arguments of the app itself.")]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME[=VALUE]", help="A variable; without a value it is taken from here."),
]
Secret = Annotated[
    list[str] | None,
    typer.Option(
        "--secret", "-s", metavar="NAME[=VALUE]", help="A secret; without a value it is taken from here, or asked for."
    ),
]
Gpu = Annotated[str, typer.Option("--gpu", metavar="WHICH", help="auto, none, or a GPU's index or UUID.")]
PythonVersion = Annotated[
    str | None, typer.Option("--python", metavar="VERSION", help="The Python to use, as 3.10.", show_default=False)
]
Share = Annotated[bool, typer.Option("--share/--no-share", help="Whether to ask for a public link.")]
Refresh = Annotated[bool, typer.Option("--refresh", help="Resolve the requirements anew.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME[=VARIABLE]",
        help="A model of the inference core for the Space to call: its address goes into VARIABLE (API_URL), and a "
        "token into API_TOKEN.",
        show_default=False,
    ),
]
Unsandboxed = Annotated[
    bool,
    typer.Option("--unsafe-no-sandbox", help="Let it reach whatever its user can. Only for code that you trust."),
]
Apt = Annotated[
    bool, typer.Option("--apt", help="Install what packages.txt asks for by apt, as root and for the whole machine.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return at once.")]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def space_ref(text: str, face: Face) -> SpaceRef:
    """What was pasted. Raises RefError. Says so where it means the Hub although such a directory is here."""
    from spaces_runner.ref import parse

    ref = parse(text, face.settings)
    if ref.kind is RefKind.HUB and (here := Path(ref.source)).is_dir():
        face.say(f"{here} is taken for a Space on the Hub; the directory would be ./{here}", Style.YELLOW)
    return ref


def variables(given: Sequence[str] | None, face: Face) -> dict[str, str]:
    """`NAME=VALUE`, and `NAME` from our own environment. Raises a usage error."""
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = split(text, "--env")
        if not equals and name not in face.environ:
            raise typer.BadParameter(f"--env {name}: it has no value here. Write --env {name}=VALUE.")
        found[name] = value if equals else face.environ[name]
    return found


def secrets(given: Sequence[str] | None, face: Face) -> dict[str, str]:
    """As `variables`, but what is neither given nor here is asked for, unseen, where a person can answer."""
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = split(text, "--secret")
        found[name] = value if equals else secret(name, face)
    if any("=" in text for text in given or ()):
        where = "stays in the shell's history, and other users see it while this runs"
        face.say(f"A secret on a command line {where}; --secret NAME asks for it.", Style.YELLOW)
    return found


def secret(name: str, face: Face) -> str:
    if name in face.environ:
        return face.environ[name]
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"--secret {name}: it has no value here. Set {name} in the environment.")
    return getpass.getpass(f"{name}: ", stream=sys.stderr)


def split(text: str, option: str) -> tuple[str, bool, str]:
    """The name, whether there is a value, and the value. What is wrong is told without the value."""
    name, equals, value = text.partition("=")
    if not _NAME.fullmatch(name):
        shown = f"{name!r} is" if equals else "this is"
        raise typer.BadParameter(f"{option}: {shown} no name of a variable (letters, digits and _).")
    return name, bool(equals), value
