"""The rooms of a Space on disk, and who may enter which."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

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


def _passage(path: Path, user: User | None) -> None:
    """A directory that the Space's user may pass through, but not list or write; nobody else."""
    path.mkdir(mode=0o700, exist_ok=True)
    if user is None:
        path.chmod(0o700)
    else:
        os.chown(path, os.geteuid(), user.gid)
        path.chmod(0o710)
