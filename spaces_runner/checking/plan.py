"""Which Spaces a check is to run: those named, those of a file, without those that a file of results has already.

A file of ids has one Space a line; what follows a # is a comment. A file of results is a list of `Result` in JSON,
replaced as a whole after each Space, so that it can be read whatever ended the check.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from spaces_runner.checking.values import Result
from spaces_runner.codec import decode, encode
from spaces_runner.errors import BadOption


def read_ids(path: Path) -> tuple[str, ...]:
    """Raises BadOption."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadOption(f"The file of Spaces cannot be read: {error}", hint="One Space a line.") from error
    return tuple(word for line in lines if (word := line.partition("#")[0].strip()))


def left(spaces: Iterable[str], results: Iterable[Result]) -> tuple[str, ...]:
    """The Spaces that have no result yet, each once."""
    done = {result.space for result in results}
    return tuple(space for space in dict.fromkeys(spaces) if space not in done)


def read_results(path: Path) -> tuple[Result, ...]:
    """Raises BadOption for a file that holds something else; a file that is not there has none."""
    try:
        return tuple(decode(Result, item) for item in json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "Give the file that a check with --output wrote, or another name."
        raise BadOption(f"{path} holds no results of a check.", hint=hint) from error


def write(path: Path, text: str) -> None:
    """Replace the file as a whole. Raises BadOption."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, "utf-8")
        part.replace(path)
    except OSError as error:
        raise BadOption(f"{path} cannot be written: {error}", hint="Give --output another place.") from error


def as_json(results: Iterable[Result]) -> str:
    return json.dumps([encode(result) for result in results], indent=2, ensure_ascii=False) + "\n"
