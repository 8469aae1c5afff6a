"""Whether a command could be run: its verb and options against the real command line, nothing started."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache

import typer.main
from typer.exceptions import TyperException

from tests.docs.blocks import ROOT

FOREIGN = frozenset({"docker", "podman", "ssh", "scp", "hf", "sudo"})  # not ours: bash reads them, no more is known


class Misspelt(ValueError):
    """A command that its program would refuse; the message says why."""


def check(command: str) -> None:
    """Raises Misspelt where the command names what does not exist, or options that are refused."""
    name, *arguments = shlex.split(command, comments=True)
    if name == "spaces-runner":
        _parse(arguments)
    elif name.startswith(("scripts/", ".ci/")):
        if not (ROOT / name).is_file() or not (ROOT / name).stat().st_mode & 0o100:
            raise Misspelt(f"{name} is no program.")
    elif name == "docker":
        _check_in_container(arguments)
    elif name not in FOREIGN:
        raise Misspelt(f"{name} is none of our programs, and not known to be another's.")


def _parse(arguments: list[str]) -> None:
    """What `spaces-runner` makes of its arguments, nothing of which is called. Its verbs come before its options."""
    from spaces_runner.cli.app import app

    command, path, rest = typer.main.get_command(app), "spaces-runner", arguments
    while below := getattr(command, "commands", None):
        verb, *rest = rest or [""]
        if verb not in below:
            raise Misspelt(f"{path} has no verb {verb!r}.")
        command, path = below[verb], f"{path} {verb}"
    try:
        command.make_context(path, list(rest))
    except TyperException as error:
        raise Misspelt(f"{path}: {error}") from error


def _check_in_container(arguments: list[str]) -> None:
    """What Docker is to start there: a program of ours, or our image with options of the page."""
    if "spaces-runner" not in arguments or arguments[0] == "build":
        return
    program, *options = arguments[arguments.index("spaces-runner") :]
    if arguments[0] == "exec":
        check(shlex.join([program, *options]))
    elif unknown := [word for word in options if word.startswith("--") and word not in _page_options()]:
        raise Misspelt(f"python -m app has no option {unknown[0]}.")


@cache
def _page_options() -> frozenset[str]:
    command = [sys.executable, "-m", "app", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60).stdout
    return frozenset(re.findall(r"--[a-z-]+", told))
