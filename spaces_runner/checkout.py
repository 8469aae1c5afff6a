"""SpaceRef -> Checkout. (First version: directories.)"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from spaces_runner.errors import CheckoutError
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, RefKind, SpaceRef, Step

_LEFT_OUT = shutil.ignore_patterns(".git", "__pycache__", ".venv")


def obtain(ref: SpaceRef, target: Path, settings: Settings, report: Reporter) -> Checkout:
    """The Space's files in `target`."""
    if ref.kind is not RefKind.DIRECTORY:
        raise CheckoutError("Only directories for now.", hint="Give a directory.")
    with report.step(Step.CLONE):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(ref.source, target, symlinks=True, ignore=_LEFT_OUT)
        digest = hashlib.sha1(usedforsecurity=False)
        size = 0
        for path in sorted(target.rglob("*")):
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                size += len(data)
                digest.update(str(path.relative_to(target)).encode() + data)
    return Checkout(ref=ref, commit=digest.hexdigest(), path=str(target), size_bytes=size)
