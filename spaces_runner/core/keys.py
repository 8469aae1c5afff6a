"""Who may call the core: a token of its own for each Space and each program, of which the file keeps the digest alone.

The core reads the file again when it changes. Its form is the core's (`app/inference/server/keys.py`): JSON, 0600,
{"keys": [{"name": …, "sha256": …, "made": …}]}, written under the lock of the same name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from spaces_runner.errors import BadOption, StateError
from spaces_runner.settings import Settings

Entry = dict[str, Any]
PROGRAM = "program:"  # begins the names of programs' keys; no Space has such a name
TOKEN = re.compile(r"sr-[A-Za-z0-9_-]{43}")  # of a program: to be told apart from the owner's at sight
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A program's key, without the key. `made`: seconds since the epoch; None where that was not noted."""

    name: str
    made: float | None


def directory(settings: Settings) -> Path:
    """The core's room: its working directory, and what it is told by files."""
    return settings.home_dir / "core"


def path(settings: Settings) -> Path:
    return directory(settings) / "keys.json"


def grant(settings: Settings, name: str) -> str:
    """A new token for `name`, which may use models and not manage them."""
    token = secrets.token_urlsafe(32)
    _change(path(settings), lambda entries: [*entries, {"name": name[:100], "sha256": _digest(token)}])
    return token


def revoke(settings: Settings, tokens: Iterable[str]) -> None:
    """These tokens open nothing any more. Others among them than ours do not matter."""
    gone = {_digest(token) for token in tokens}
    if path(settings).exists():
        _change(path(settings), lambda entries: [entry for entry in entries if entry.get("sha256") not in gone])


def issue(settings: Settings, name: str) -> str:
    """A new key for the program `name`: it is shown here only. Raises BadOption, StateError."""
    if not _NAME.fullmatch(name):
        raise BadOption(
            f"{name[:80]!r} cannot be the name of a key.", hint="Up to 60 letters, digits and . _ - name the program."
        )
    token = f"sr-{secrets.token_urlsafe(32)}"
    entry = {"name": PROGRAM + name, "sha256": _digest(token), "made": round(time.time(), 3)}

    def added(entries: list[Entry]) -> list[Entry]:
        if any(known.get("name") == entry["name"] for known in entries):
            raise BadOption(f"There is a key named {name} already.", hint="Revoke it first, or take another name.")
        return [*entries, entry]

    _change(path(settings), added)
    return token


def issued(settings: Settings) -> tuple[str, ...]:
    """The names of the programs that have a key, the oldest first. Raises StateError."""
    return tuple(key.name for key in listed(settings))


def listed(settings: Settings) -> tuple[Key, ...]:
    """The keys of programs, the oldest first. Raises StateError."""
    named = ((str(entry.get("name")), entry.get("made")) for entry in _read(path(settings)))
    return tuple(Key(name=name.removeprefix(PROGRAM), made=made) for name, made in named if name.startswith(PROGRAM))


def withdraw(settings: Settings, name: str) -> None:
    """The program's key opens nothing any more, from now on. Raises BadOption where it has none, StateError."""
    known = issued(settings)
    if name not in known:
        there = f"There are: {', '.join(known)}." if known else "There are none."
        raise BadOption(f"There is no key named {name[:80]!r}.", hint=there)
    _change(path(settings), lambda entries: [entry for entry in entries if entry.get("name") != PROGRAM + name])


def _change(file: Path, change: Callable[[list[Entry]], list[Entry]]) -> None:
    """Written whole, or not at all. Raises StateError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock"), mode=0o600):
        entries = change(_read(file))
        partial = file.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            json.dump({"keys": entries}, stream)
        partial.replace(file)


def _read(file: Path) -> list[Entry]:
    try:
        entries: list[Entry] = json.loads(file.read_text())["keys"]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(
            f"The core's keys in {file} cannot be read: {error}.",
            hint="Move the file away; Spaces get new tokens then.",
        ) from error
    return entries


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
