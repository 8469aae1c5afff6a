"""Writes a patch into a copy of the source. Knows files, not what is changed in them."""

from __future__ import annotations

import os
from pathlib import Path

from spaces_runner import pysource
from spaces_runner.errors import PatchError
from spaces_runner.types import Patch


def apply(patch: Patch, root: Path) -> None:
    """Writes `patch` into the tree at `root`, each file in its own encoding. Raises PatchError."""
    for file in patch.files:
        target = root / file.path
        try:
            if target.is_symlink() or not target.resolve().is_relative_to(root.resolve()):
                raise PatchError(f"{file.path} is a symbolic link and was not changed.")
            data = pysource.read(target).encode(file.source)
            _replace(target, data)
        except (OSError, UnicodeEncodeError, pysource.Unreadable) as exc:
            raise PatchError(f"{file.path} could not be written: {exc}.") from exc


def _replace(target: Path, data: bytes) -> None:
    """A new file in place of the old: where several trees share one file by hard links, the others keep theirs."""
    scratch = target.with_name(f".{target.name}.patched")
    scratch.unlink(missing_ok=True)
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        os.fchmod(fd, target.stat().st_mode & 0o777)
    scratch.replace(target)
