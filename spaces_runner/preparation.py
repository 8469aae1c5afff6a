"""Remembers what the stages made of a Space's last commit, so that a relaunch neither detects, resolves nor patches.

What is remembered counts only while everything it was made from is the same: the commit (for a directory a hash of its
contents), the options, the settings, the runner's own code, and what of the machine the stages look at. It is kept
beside the Space's rooms, where the Space's user may not write, and is removed with them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spaces_runner.codec import decode, encode
from spaces_runner.job import Job
from spaces_runner.settings import Settings
from spaces_runner.types import Environment, Patch, SpaceSpec

# What findings and packages depend on besides: installed Debian packages, and the driver that decides torch's build.
_DEBIAN_PACKAGES = Path("/var/lib/dpkg/info")
_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What the stages between checkout and launch came to."""

    spec: SpaceSpec
    environment: Environment
    patch: Patch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    made_from: str
    preparation: Preparation


def recall(job: Job, commit: str) -> Preparation | None:
    """What was made of this commit for this job, if it still holds and its environment stands. Never half of it."""
    if job.options.refresh:
        return None
    try:
        kept = decode(_Kept, json.loads(_file(job).read_text()))
    except (OSError, ValueError, KeyError, TypeError):  # never made, or by a version that wrote something else
        return None
    environment = kept.preparation.environment
    if kept.made_from != _made_from(job, commit) or not Path(environment.resolution.python).exists():
        return None
    try:
        os.utime(job.settings.environment_mark(environment.fingerprint))  # for `prune`: it is in use
    except FileNotFoundError:
        return None
    return replace(kept.preparation, environment=replace(environment, reused=True))


def last(settings: Settings, space_id: str) -> Preparation | None:
    """What was made of a Space's last build that can be remembered, whether or not it still holds."""
    try:
        return decode(_Kept, json.loads(_path(settings, space_id).read_text())).preparation
    except (OSError, ValueError, KeyError, TypeError):  # as above
        return None


def remember(job: Job, commit: str, preparation: Preparation) -> None:
    """Keep it for the next launch of the same; what was kept before is dropped."""
    path = _file(job)
    part = path.with_name(f".{path.name}.{job.run_id}")
    kept = _Kept(made_from=_made_from(job, commit), preparation=preparation)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(encode(kept), file)
    part.replace(path)


def _file(job: Job) -> Path:
    return _path(job.settings, job.space_id)


def _path(settings: Settings, space_id: str) -> Path:
    return settings.space(space_id).root / "preparation.json"


def _made_from(job: Job, commit: str) -> str:
    """A name for all that a preparation is made from: equal names are equal preparations."""
    settings = replace(job.settings, hf_token=None)  # opens the Space, and changes nothing in it
    parts: list[Any] = [commit, encode(job.ref), encode(job.options), encode(settings), list(_machine()), list(_code())]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _machine() -> Iterator[object]:
    yield _DEBIAN_PACKAGES.stat().st_mtime_ns if _DEBIAN_PACKAGES.exists() else None
    yield _DRIVER.read_text() if _DRIVER.exists() else None


def _code() -> Iterator[tuple[str, int, int]]:
    """The runner's own files: an updated runner must not meet what another one made."""
    for folder, names, files in os.walk(Path(__file__).parent):
        names[:] = sorted(name for name in names if name != "__pycache__")
        for entry in sorted(files):
            status = Path(folder, entry).stat()
            yield entry, status.st_size, status.st_mtime_ns
