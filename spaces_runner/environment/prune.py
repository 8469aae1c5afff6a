"""Removes environments that no Space uses."""

from __future__ import annotations

import time
from collections.abc import Set as AbstractSet
from pathlib import Path

from filelock import FileLock, Timeout

from spaces_runner.environment import answers, bytecode
from spaces_runner.environment.build import discard
from spaces_runner.settings import ENVIRONMENT_MARK, Settings

YOUNG_S = 600.0  # a launch that has just taken an environment has not written it down yet


def prune(
    settings: Settings, keep: AbstractSet[str], *, dry_run: bool = False, young_s: float = YOUNG_S
) -> tuple[str, ...]:
    """Remove every environment whose fingerprint is not in `keep`, with its byte code; their names.

    With `dry_run` only name them.

    One that is being built, and one that was taken within `young_s` seconds, stays.
    """
    removed = []
    folder = settings.environments_dir
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = path.name.lstrip(".").partition(".")[0]  # of a half-built one, too: ".<name>.<builder>.part"
        if path.name == ".locks" or path.name in keep:
            continue
        try:
            with FileLock(folder / ".locks" / name, timeout=0):
                mark = path / ENVIRONMENT_MARK
                if mark.exists() and mark.stat().st_mtime > time.time() - young_s:
                    continue
                if not dry_run:
                    _remove(path, mark)
                removed.append(name)
        except Timeout:
            continue
    if not dry_run:
        bytecode.drop_unused(settings.uv_cache_dir / "bytecode")
        answers.forget_old(settings)
    return tuple(removed)


def _remove(path: Path, mark: Path) -> None:
    path.chmod(0o755)  # write-protected where we are not root
    mark.unlink(missing_ok=True)  # first: from here on it is incomplete
    discard(path)
