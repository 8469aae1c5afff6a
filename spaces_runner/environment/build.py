"""Resolution -> Environment: one immutable directory per fingerprint, owned by the runner, only read by Spaces.

It is made beside its place and moved there when it is complete; a half-built one is never seen.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import time
from pathlib import Path

from filelock import FileLock, Timeout

from spaces_runner.codec import encode
from spaces_runner.environment import bytecode, lock, pythons, uv
from spaces_runner.environment.failure import install_failure, too_large
from spaces_runner.environment.pythons import Python
from spaces_runner.environment.sources import own_wheels
from spaces_runner.environment.workshop import Workshop
from spaces_runner.errors import BuildError
from spaces_runner.report import Reporter
from spaces_runner.settings import ENVIRONMENT_MARK, Settings
from spaces_runner.types import Checkout, Confinement, Environment, Resolution, SpaceSpec, Step

LOCK_TIMEOUT_S = 2 * 3600.0
FORMAT = "1"  # of an environment: another number builds all of them anew

_WAITED = "Stop that launch and try again."

_START = '''"""Starts the runner's part of this environment; Pythons from 3.15 on call it (PEP 829)."""


def start():
    import _spaces_runner
'''


def build(  # noqa: PLR0913, PLR0917  # the stage's interface: all that a stage is handed
    resolution: Resolution,
    spec: SpaceSpec,
    checkout: Checkout,
    settings: Settings,
    report: Reporter,
    under: Confinement,
    scratch: Path,
    space_id: str,
) -> Environment:
    """The environment that `resolution` describes: the one that stands, or a new one.

    Raises WheelBuildFailed, PackagesTooLarge or BuildError. Twenty callers at once make one environment: the
    others wait for it.
    """
    shop = Workshop(settings=settings, report=report, checkout=checkout, scratch=scratch, under=under)
    name = fingerprint(resolution, space_id=space_id, commit=checkout.commit)
    target = settings.environments_dir / name
    reused = _complete(target)
    if not reused:
        locks = settings.environments_dir / ".locks"
        locks.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            with FileLock(locks / name, timeout=LOCK_TIMEOUT_S):
                reused = _complete(target)
                if not reused:
                    _require_space(settings)
                    _make(target, resolution, spec, shop)
        except Timeout as exc:
            raise BuildError("Another launch has been building the same environment for hours.", hint=_WAITED) from exc
    os.utime(target / ENVIRONMENT_MARK)  # for `prune`: it is in use
    return Environment(
        fingerprint=name,
        prefix=str(target),
        python=str(target / "bin" / "python"),
        resolution=resolution,
        reused=reused,
    )


def fingerprint(resolution: Resolution, *, space_id: str = "", commit: str = "") -> str:
    """Names the environment of `resolution`: equal names are equal environments.

    What a Space brought or built itself is its alone, so then its id and commit are part of the name.
    """
    parts = [FORMAT, resolution.lock, resolution.python, resolution.python_version, *bootstrap().values()]
    if private(resolution):
        parts += [space_id, commit]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def private(resolution: Resolution) -> bool:
    return any(package.own for package in lock.packages(resolution.lock))


def stands(resolution: Resolution, settings: Settings) -> bool:
    """Whether the environment of `resolution` is there; False for one that only its Space may use."""
    return not private(resolution) and _complete(settings.environments_dir / fingerprint(resolution))


def bootstrap() -> dict[str, str]:
    """The modules that every environment holds: their files' names and text."""
    folder = Path(__file__).parents[1] / "bootstrap"
    return {path.name: path.read_text() for path in sorted(folder.glob("_spaces_runner*.py"))}


def _complete(target: Path) -> bool:
    return (target / ENVIRONMENT_MARK).is_file()


def _require_space(settings: Settings) -> None:
    free = shutil.disk_usage(settings.environments_dir).free
    if free < settings.disk_floor_bytes:
        raise too_large(f"Only {free // 1024**2} MB are free for the packages of the Space.")


def _make(target: Path, resolution: Resolution, spec: SpaceSpec, shop: Workshop) -> None:
    for leftover in target.parent.glob(f".{target.name}.*.part"):  # of a builder that was killed
        discard(leftover)
    discard(target)
    part = target.with_name(f".{target.name}.{os.getpid()}-{time.monotonic_ns()}.part")
    try:
        _fill(part, target, resolution, spec, shop)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise too_large("The disk was full before the environment was complete.") from error
        raise
    finally:
        discard(part)  # nothing happens where it went to its place


def _fill(part: Path, target: Path, resolution: Resolution, spec: SpaceSpec, shop: Workshop) -> None:
    """Make the environment at `part`, as it is to be at `target`, and move it there."""
    python = pythons.describe(resolution.python, shop.settings)
    wheels = own_wheels(resolution, spec, shop)
    site = _skeleton(part, python)
    _install(part, resolution, wheels, shop)
    _add_bootstrap(site)
    _point_scripts(part / "bin", python, target)
    store = shop.settings.uv_cache_dir / "bytecode"
    written = bytecode.write(site, target / site.relative_to(part), python, store, _compiling(resolution, shop.report))
    shop.report.log(f"Byte code: {written.compiled} modules compiled, {written.linked} taken from before")
    (part / ENVIRONMENT_MARK).write_text(json.dumps(encode(resolution)))
    if os.geteuid() != 0:
        _write_protect(part)
    part.rename(target)


def _skeleton(part: Path, python: Python) -> Path:
    """An empty virtual environment. Ours, since uv would ask the interpreter inside, which runs what is installed."""
    site = part / "lib" / f"python{python.minor}" / "site-packages"
    site.mkdir(mode=0o755, parents=True)
    (part / "lib64").symlink_to("lib")
    (part / "bin").mkdir(mode=0o755)
    (part / "bin" / "python").symlink_to(python.path)
    for name in ("python3", f"python{python.minor}"):
        (part / "bin" / name).symlink_to("python")
    home = Path(python.path).parent
    (part / "pyvenv.cfg").write_text(
        f"home = {home}\nimplementation = CPython\nversion_info = {python.version}\n"
        "include-system-site-packages = false\n"
    )
    return site


def _install(part: Path, resolution: Resolution, wheels: tuple[Path, ...], shop: Workshop) -> None:
    text = lock.installable(resolution.lock, uv.LOCKED_INDEX)
    packages = lock.packages(text)
    if not packages and not wheels:
        return
    listing = shop.scratch / "pylock.toml"
    listing.write_text(text)
    progress = _Progress(shop.report, len(packages) + len(wheels))
    # By prefix: the interpreter that uv asks is the bare one, never the environment's, which runs its packages' .pth.
    common = ("--python", resolution.python, "--prefix", str(part), "--no-build", "--link-mode", "hardlink")
    quick = ("--preview-features", "pylock", "--allow-empty-requirements")
    outcome = shop.installing(progress.line).run(("pip", "sync", *quick, *common, str(listing)), uv.INSTALL_TIMEOUT_S)
    if outcome.ok and wheels:
        # Without the shared cache: what a Space built stays out of it.
        command = ("pip", "install", "--no-deps", "--no-index", "--no-cache", *common, *map(str, wheels))
        outcome = shop.installing(progress.line).run(command, uv.INSTALL_TIMEOUT_S)
    if not outcome.ok:
        raise install_failure(outcome)
    (part / ".lock").unlink(missing_ok=True)  # uv's own
    progress.finish()


class _Progress:
    """uv's lines to the log, and to a count of packages."""

    def __init__(self, report: Reporter, total: int) -> None:
        self.report = report
        self.total = total
        self.fetched = 0
        self.installed = 0

    def line(self, line: str) -> None:
        self.report.log(line)
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        self.fetched += word in ("Downloaded", "Built")
        self.installed += word == "+"
        done = min(max(self.fetched, self.installed), self.total - 1)
        self.report.progress(Step.ENVIRONMENT, max(done, 0), self.total, "packages")

    def finish(self) -> None:
        self.report.progress(Step.ENVIRONMENT, self.total, self.total, "packages")


def _compiling(resolution: Resolution, report: Reporter) -> bytecode.Told:
    """Has the compiling told in words of its own: all packages are installed by then."""
    what = f"compiling {len(resolution.packages)} packages"
    return lambda done, total: report.progress(Step.ENVIRONMENT, done, total, "modules", what=what)


def _add_bootstrap(site: Path) -> None:
    """The runner's modules and what makes every Python of this environment import it."""
    files = {
        **bootstrap(),
        "_spaces_runner.pth": "import _spaces_runner\n",
        "_spaces_runner_start.py": _START,
        "_spaces_runner.start": "_spaces_runner_start:start\n",
    }
    for name, text in files.items():
        (site / name).unlink(missing_ok=True)  # of a package that takes our name: a hard link into uv's cache
        (site / name).write_text(text)


def _point_scripts(folder: Path, python: Python, target: Path) -> None:
    """Console scripts start this environment's Python at its final place, not the bare one they were installed with."""
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_file():
            continue
        old, new = python.path.encode(), str(target / "bin" / "python").encode()
        text = path.read_bytes()
        if text.startswith(b"#!") and old in text[:512]:
            path.unlink()  # it may be a hard link into uv's cache
            path.write_bytes(text.replace(old, new, 2))
            path.chmod(0o755)


def _write_protect(root: Path) -> None:
    """Where a Space runs as the same user as the runner: against accidents."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
        Path(folder).chmod(0o555)


def discard(root: Path) -> None:
    """Remove an environment, write-protected or not; nothing happens where there is none."""
    if not root.is_dir():
        return
    if os.geteuid() != 0:
        for folder, _, _ in os.walk(root):
            Path(folder).chmod(0o755)
    shutil.rmtree(root, ignore_errors=True)  # the children of a killed builder may write for a moment yet
