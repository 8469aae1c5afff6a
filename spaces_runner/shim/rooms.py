"""The rooms of a Space on disk, and who may enter which."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from spaces_runner.errors import LaunchError
from spaces_runner.settings import SpaceDirs
from spaces_runner.types import User

MAX_SOCKET_PATH = 107  # bytes; the kernel's limit
SHORT = Path("/tmp")  # for a socket whose own room lies too deep; the directory made there is closed


def furnish(dirs: SpaceDirs, user: User | None) -> None:
    """Make the rooms that are there before anything is built. Only the Space's user and we may enter."""
    dirs.root.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _passage(dirs.root, user)
    for path in (dirs.data, dirs.home, dirs.tmp):
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
        if user is not None:
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
    dirs.logs.mkdir(mode=0o700, exist_ok=True)


def make_socket_dir(dirs: SpaceDirs, user: User | None) -> Path:
    """A directory for the bootstrap's socket, short enough and open to the Space's user alone."""
    shutil.rmtree(dirs.run, ignore_errors=True)
    path = dirs.run
    if len(os.fsencode(path / "s")) > MAX_SOCKET_PATH:
        path = Path(tempfile.mkdtemp(prefix="spaces-runner-", dir=SHORT))
    _passage(path, user)
    return path


def leave_secrets(home: Path, name: str, secrets: Mapping[str, str], user: User | None) -> None:
    """A file below `home`, as TOML and for the Space's user alone; none where there are no secrets.

    Raises LaunchError where something of the Space's own is in the way.
    """
    try:
        _write_secrets(home, name, secrets, user)
    except OSError as error:
        raise LaunchError(
            f"The Space's secrets cannot be written to ~/{name}: {error.strerror}.",
            hint="Something that the Space left in its home is in the way; remove the Space and start it anew.",
        ) from error


def _write_secrets(home: Path, name: str, secrets: Mapping[str, str], user: User | None) -> None:
    """The home is the Space's: no link that it left on the way is followed."""
    folder, _, file = name.rpartition("/")
    with suppress(FileExistsError):
        (home / folder).mkdir(mode=0o700)
    way = os.open(home / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _give(way, user)
        with suppress(FileNotFoundError):
            os.unlink(file, dir_fd=way)
        if secrets:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=way)
            with os.fdopen(descriptor, "w", encoding="utf-8") as written:
                written.writelines(f"{_toml(key)} = {_toml(value)}\n" for key, value in secrets.items())
                _give(descriptor, user)
    finally:
        os.close(way)


def _toml(text: str) -> str:
    """A string of TOML: JSON's, whose escapes it shares, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _give(descriptor: int, user: User | None) -> None:
    if user is not None:
        os.fchown(descriptor, user.uid, user.gid)


def _passage(path: Path, user: User | None) -> None:
    """A directory that the Space's user may pass through, but not list or write; nobody else."""
    path.mkdir(mode=0o700, exist_ok=True)
    if user is None:
        path.chmod(0o700)
    else:
        os.chown(path, os.geteuid(), user.gid)
        path.chmod(0o710)
