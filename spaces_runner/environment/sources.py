"""Packages without a wheel -> wheels, built as the Space's own user with a cache of its own.

Building runs what the package brings. It sees no token and no variable of the owner's, and can write nothing that
anybody else reads.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from spaces_runner.environment import lock, uv
from spaces_runner.environment.attempt import lay_out
from spaces_runner.environment.failure import build_failure, reason
from spaces_runner.environment.request import projects, read_wishes
from spaces_runner.environment.workshop import Workshop
from spaces_runner.errors import WheelBuildFailed
from spaces_runner.types import Resolution, SpaceSpec, User


def own_wheels(resolution: Resolution, spec: SpaceSpec, shop: Workshop) -> tuple[Path, ...]:
    """Wheels of what the Space brings itself: its wheel files, and what has been built from source.

    They are copies in a folder that only the runner writes. Raises WheelBuildFailed.
    """
    own = [package for package in lock.packages(resolution.lock) if package.own]
    sources = [package for package in own if package.origin is lock.Origin.SOURCE]
    files = [Path(package.requirement.partition(" @ file://")[2]) for package in own if package not in sources]
    built: list[Path] = []
    if sources:
        # Again: the answer may be an earlier run's, and what is there may have been changed by code that ran since.
        brought = projects(read_wishes(spec, shop.checkout).required)
        lay_out(brought, shop)
        built = build(sources, resolution, shop, brought)
    shelf = shop.scratch / "wheels"
    shelf.mkdir(exist_ok=True)
    copies = [_taken(wheel, shelf, None) for wheel in files]
    return (*copies, *(_taken(wheel, shelf, shop.user) for wheel in built))


def build(packages: list[lock.Package], resolution: Resolution, shop: Workshop, brought: tuple[str, ...]) -> list[Path]:
    """Build `packages`; uv leaves each one's wheel in its cache, which is the Space's own.

    `brought` are the Space's projects among them, by their paths. Raises WheelBuildFailed.
    """
    shop.report.log(f"Building from source: {', '.join(package.name for package in packages)}")
    runner = shop.spaces()
    target = runner.room.tmp / "built"
    command = ["pip", "install", "--no-deps", "--no-progress", "--python", resolution.python, "--target", str(target)]
    if resolution.exclude_newer:  # its build tools as of that day, too
        command += ["--exclude-newer", resolution.exclude_newer]
    outcome = runner.run((*command, *(package.requirement for package in packages)), uv.INSTALL_TIMEOUT_S)
    if not outcome.ok:
        raise build_failure(outcome.text, reason(outcome.lines), brought)
    return [_find(runner.room.cache, package) for package in packages]


def _find(cache: Path, package: lock.Package) -> Path:
    wanted = package.name.replace("-", "_").lower()
    for path in sorted(cache.glob("sdists-v*/**/*.whl"), key=lambda path: path.lstat().st_mtime, reverse=True):
        name, version, *_ = path.name.split("-")
        if name.lower().replace(".", "_") == wanted and package.version in ("", version) and path.is_file():
            return path
    raise WheelBuildFailed(
        f"{package.name} was built, but there is no wheel of it.", hint="Launch again; if that fails, report it."
    )


def _taken(wheel: Path, shelf: Path, user: User | None) -> Path:
    """A copy of `wheel` that its builder cannot change any more.

    The builder could put a link or a pipe in its place, to be given what only the runner may read.
    """
    copy = shelf / wheel.name
    with os.fdopen(os.open(wheel, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
        status = os.fstat(source.fileno())
        owners = {os.geteuid(), user.uid if user else os.geteuid()}
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in owners:
            raise WheelBuildFailed(f"{wheel.name} is no file of the Space.", hint="Do not launch it: it plays tricks.")
        with copy.open("wb") as target:
            shutil.copyfileobj(source, target, 1024**2)
    return copy
