"""How large the environment of a Space is: what stands of it, or what it will fetch. Knows its lock (PEP 751)."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces_runner import environment
from spaces_runner.settings import Settings
from spaces_runner.types import Inspection


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSize:
    """In bytes. `disk` is what it takes where it stands, `fetched` what it may have to fetch where it does not.

    `unknown`: how many of its packages say no size, so that `fetched` is without them.
    """

    disk: int = 0
    fetched: int = 0
    unknown: int = 0


def measure(inspection: Inspection, settings: Settings) -> EnvironmentSize:
    """Reads the directory of one that stands, and of another its lock alone: nothing is asked of anybody.

    Of a Space in a container, whose image has what it needs, nothing is known.
    """
    resolution = inspection.resolution
    if resolution is None:
        return EnvironmentSize()
    if inspection.environment_ready:
        return EnvironmentSize(disk=_on_disk(settings.environments_dir / environment.fingerprint(resolution)))
    return of_lock(resolution.lock)


def of_lock(lock: str) -> EnvironmentSize:
    """What a lock names, as far as the index told sizes."""
    sizes = [_size(entry) for entry in tomllib.loads(lock).get("packages", [])]
    return EnvironmentSize(fetched=sum(size or 0 for size in sizes), unknown=sizes.count(None))


def _size(package: dict[str, Any]) -> int | None:
    """Of the file that is installed: uv locks for one machine, so it names one wheel, and a source where none fits."""
    files = package.get("wheels") or [package[kind] for kind in ("archive", "sdist") if kind in package]
    return next((int(file["size"]) for file in files if "size" in file), None)


def _on_disk(root: Path) -> int:
    """Links to one file count once, as they take room once."""
    found: dict[tuple[int, int], int] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            told = Path(folder, name).lstat()
            found[told.st_dev, told.st_ino] = told.st_size
    return sum(found.values())
