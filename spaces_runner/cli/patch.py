"""`spaces-runner patch`: what would change in a Space's source so that every launch shares."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from spaces_runner.cli.face import AsJson, Face, Style, opened
from spaces_runner.cli.options import space_ref
from spaces_runner.errors import ConfigError, NoAppFile, PatchError, RefError
from spaces_runner.format import finding_lines
from spaces_runner.sanitize import clean_line
from spaces_runner.types import Checkout, Patch, RefKind, RunOptions, Sdk, SpaceSpec

COLOURS = {"+": Style.GREEN, "-": Style.RED, "@": Style.CYAN}


def patch(
    source: Annotated[str, typer.Argument(metavar="SPACE", help="A directory, a .py file, or any Space.")],
    write: Annotated[bool, typer.Option("--write", help="Change the directory or the file in place.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the diff that makes every launch of a Space share. Changes nothing without --write."""
    with opened(as_json) as face:
        changes = of_file(Path(source), write) if is_file(source) else of_space(source, write, face)
        if as_json:
            face.data(changes)
        else:
            show(changes, face, write)


def is_file(source: str) -> bool:
    return source.endswith(".py") and Path(source).is_file()


def of_file(path: Path, write: bool) -> Patch:
    from spaces_runner import pysource
    from spaces_runner.patch.source import patch_source
    from spaces_runner.patch.writing import apply

    try:
        changed = patch_source(pysource.read(path).text, path.name)
    except (OSError, pysource.Unreadable) as error:
        raise PatchError(f"{path} cannot be read: {error}") from error
    changes = Patch(files=(changed,) if changed else ())
    if write:
        apply(changes, path.parent)
    return changes


def of_space(source: str, write: bool, face: Face) -> Patch:
    """The patch of a directory as it lies there, or of a Space that is fetched to look at it."""
    from spaces_runner.checkout import look
    from spaces_runner.patch.source import patch_tree
    from spaces_runner.patch.writing import apply
    from spaces_runner.report import Reporter

    ref = space_ref(source, face)
    if ref.kind is RefKind.DIRECTORY:
        there = Checkout(ref=ref, commit="", path=ref.source)
        changes = patch_tree(Path(ref.source), described(there))
        if write:
            apply(changes, Path(ref.source))
        return changes
    if write:
        raise RefError("Only a directory or a file of this machine can be changed in place.", hint="Leave out --write.")
    with tempfile.TemporaryDirectory(prefix="spaces-runner-") as folder:
        checkout = look(ref, Path(folder, "app"), face.settings, Reporter())
        return patch_tree(Path(checkout.path), described(checkout))


def described(checkout: Checkout) -> SpaceSpec:
    """What the Space says about itself. A patch needs none of it: a folder of Python files is enough."""
    from spaces_runner.detect import detect

    try:
        return detect(checkout, RunOptions())
    except (ConfigError, NoAppFile):
        return SpaceSpec(sdk=Sdk.GRADIO)


def show(changes: Patch, face: Face, written: bool) -> None:
    show_diff(changes.diff, face)
    for finding in changes.findings:
        for line in finding_lines(finding):
            face.say(line)
    if not changes.files:
        face.say("Nothing to patch.")
    elif written:
        face.say(f"Changed {', '.join(file.path for file in changes.files)}.")


def show_diff(diff: str, face: Face) -> None:
    """For a person in colours and with control sequences made harmless; for a program byte by byte, as git takes it."""
    if not sys.stdout.isatty():
        sys.stdout.write(diff)
        return
    for line in diff.split("\n")[:-1]:
        face.out(clean_line(line), *diff_style(line))


def diff_style(line: str) -> tuple[Style, ...]:
    if line.startswith(("+++", "---")):
        return (Style.BOLD,)
    return (COLOURS[line[0]],) if line[:1] in COLOURS else ()
