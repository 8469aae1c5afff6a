"""What every verb needs: the settings, the two streams, and one place where an error becomes text and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TextIO

import typer

from spaces_runner.codec import encode
from spaces_runner.errors import RunnerError, StateError
from spaces_runner.format import error_lines
from spaces_runner.settings import Settings, read_settings
from spaces_runner.types import ErrorInfo

AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]
SpaceId = Annotated[str, typer.Argument(metavar="ID", help="A Space's id, or its owner/name, as ps shows them.")]
SpaceIds = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids, or owner/names, as ps shows them.")]


class Style(StrEnum):
    """SGR parameters."""

    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """The command line at work. `colour_out` and `colour_err` say whether a person looks at the stream."""

    settings: Settings
    environ: Mapping[str, str]  # the owner's: where `--env NAME` takes its value from
    as_json: bool
    colour_out: bool
    colour_err: bool
    live: bool  # standard error is a terminal that can redraw a line

    def say(self, line: str = "", *styles: Style) -> None:
        """A line for people."""
        print(styled(line, self.colour_err, *styles), file=sys.stderr, flush=True)  # noqa: T201  # this is the face

    def out(self, line: str, *styles: Style) -> None:
        """A line of data."""
        print(styled(line, self.colour_out, *styles), flush=True)  # noqa: T201  # this is the face

    def data(self, value: Any) -> None:
        """A value of ours as JSON."""
        self.out(json.dumps(encode(value), indent=2))

    def error(self, error: ErrorInfo) -> None:
        first, *rest = error_lines(error)
        self.say(first, Style.RED)
        for line in rest:
            self.say(line)


@contextmanager
def opened(as_json: bool = False) -> Iterator[Face]:
    """A face for one verb. A `RunnerError` inside ends it: shown to people, and as data with `--json`; exit code 1."""
    face = make_face(os.environ, as_json)
    _sweep(face.settings)
    try:
        yield face
    except RunnerError as error:
        face.error(error.info)
        if as_json:
            face.data({"error": error.info})
        raise typer.Exit(1) from None


def _sweep(settings: Settings) -> None:
    """End what is left of Spaces whose shim was killed: whatever is asked for, this is the next look at them."""
    if not settings.database.exists():
        return
    from spaces_runner import looking  # where nothing was ever started, it is not even loaded

    with suppress(StateError):  # a verb that needs the state says so itself, and doctor says what is wrong with it
        looking.sweep(settings)


def make_face(environ: Mapping[str, str], as_json: bool) -> Face:
    """Raises a usage error when the environment holds a setting that is none."""
    try:
        settings = read_settings(environ)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return Face(
        settings=settings,
        environ=environ,
        as_json=as_json,
        colour_out=coloured(sys.stdout, environ),
        colour_err=coloured(sys.stderr, environ),
        live=sys.stderr.isatty() and environ.get("TERM") != "dumb",
    )


def coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether colours belong on `stream`: https://no-color.org."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def styled(text: str, colour: bool, *styles: Style) -> str:
    return f"\x1b[{';'.join(styles)}m{text}\x1b[0m" if colour and styles else text
