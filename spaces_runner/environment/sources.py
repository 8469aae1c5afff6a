"""Packages without a wheel -> wheels, built as the Space's own user with a cache of its own.

Building runs what the package brings. It sees no token and no variable of the owner's, and can write nothing that
anybody else reads.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from spaces_runner import uv
from spaces_runner.environment import lock
from spaces_runner.environment.attempt import lay_out
from spaces_runner.environment.failure import build_failure, reason
from spaces_runner.environment.request import projects, read_wishes
from spaces_runner.environment.workshop import Workshop
from spaces_runner.errors import WheelBuildFailed
from spaces_runner.types import Resolution, SpaceSpec


def own_wheels(resolution: Resolution, spec: SpaceSpec, shop: Workshop) -> tuple[Path, ...]:
    """Wheels of what the Space brings itself: its wheel files, and what has been built from source.

    They are copies in a folder that only the runner writes. Raises WheelBuildFailed.
    """
    own = [package for package in lock.packages(resolution.lock) if package.own]
    sources = [package for package in own if package.origin is lock.Origin.SOURCE]
    wheels = [Path(package.requirement.partition(" @ file://")[2]) for package in own if package not in sources]
    if sources:
        # Again: the answer may be an earlier run's, and what is there may have been changed by code that ran since.
        lay_out(projects(read_wishes(spec, shop.checkout).required), shop)
        wheels += build(sources, resolution, shop)
    shelf = shop.scratch / "wheels"
    shelf.mkdir(exist_ok=True)
    return tuple(_taken(wheel, shelf) for wheel in wheels)


def build(packages: list[lock.Package], resolution: Resolution, shop: Workshop) -> list[Path]:
    """Build `packages`; uv leaves each one's wheel in its cache, which is the Space's own."""
    shop.report.log(f"Building from source: {', '.join(package.name for package in packages)}")
    runner = shop.spaces()
    target = runner.room.home / "built"
    command = ["pip", "install", "--no-deps", "--no-progress", "--python", resolution.python, "--target", str(target)]
    if resolution.exclude_newer:  # its build tools as of that day, too
        command += ["--exclude-newer", resolution.exclude_newer]
    outcome = runner.run((*command, *(package.requirement for package in packages)), uv.INSTALL_TIMEOUT_S)
    if not outcome.ok:
        raise build_failure(outcome.text, reason(outcome.lines))
    return [_find(runner.room.cache, package) for package in packages]


def _find(cache: Path, package: lock.Package) -> Path:
    wanted = package.name.replace("-", "_").lower()
    for path in sorted(cache.glob("sdists-v*/**/*.whl"), key=lambda path: path.lstat().st_mtime, reverse=True):
        name, version, *_ = path.name.split("-")
        if name.lower().replace(".", "_") == wanted and package.version in ("", version) and _plain(path):
            return path
    raise WheelBuildFailed(
        f"{package.name} was built, but there is no wheel of it.", hint="Launch again; if that fails, report it."
    )


def _plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _taken(wheel: Path, shelf: Path) -> Path:
    """A copy of `wheel` that its builder cannot change any more, read without following a link."""
    copy = shelf / wheel.name
    with os.fdopen(os.open(wheel, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, 1024**2)
    return copy
