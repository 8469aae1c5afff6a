"""Settings -> what of this machine a launch needs, and what to do about what is missing. Starts no Space.

A check that fails prevents every launch; one that warns prevents some, or makes them poorer.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path

import psutil

from spaces_runner.errors import RunnerError
from spaces_runner.format import size
from spaces_runner.reach import bare, unreachable
from spaces_runner.sandbox.battery import examine as examine_sandbox
from spaces_runner.sandbox.choice import made_of, reached
from spaces_runner.settings import Settings

NETWORK_TIMEOUT_S = 3.0
COMMAND_TIMEOUT_S = 5.0
SMALLEST_APP_BYTES = 512 * 1024**2
ROOMY_BYTES = 10 * 1024**3  # one environment with torch and CUDA is about 6 GB
# The first release of each series with the fixes of 2024 for clones of hostile repositories (CVE-2024-32002 and on).
GIT_FIXES = {39: 4, 40: 2, 41: 1, 42: 2, 43: 4, 44: 1, 45: 1}
_UV_REMEDY = "Install it again:  pip install --force-reinstall uv"


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: what there is, and what can be done where that is not enough."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def examine(settings: Settings) -> tuple[Check, ...]:
    """Every check, in the order of the pipeline. The network is asked side by side, three seconds at most."""
    checks: tuple[Callable[[Settings], Check], ...] = (
        python,
        git,
        git_lfs,
        uv,
        memory,
        home,
        home_open,
        disk,
        database,
        sandbox,
        pythons,
        gpus,
        containers,
        package_index,
        hub,
        share_server,
    )

    # Here: threads that import a package, or fill the table of the interpreter's variables, can meet halfway.
    import_module("spaces_runner.environment")
    sysconfig.get_config_vars()
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        return tuple(pool.map(lambda check: check(settings), checks))


def healthy(checks: tuple[Check, ...]) -> bool:
    return all(check.verdict is not Verdict.FAIL for check in checks)


def ok(name: str, detail: str) -> Check:
    return Check(name=name, verdict=Verdict.OK, detail=detail)


def warn(name: str, detail: str, remedy: str) -> Check:
    return Check(name=name, verdict=Verdict.WARN, detail=detail, remedy=remedy)


def fail(name: str, detail: str, remedy: str) -> Check:
    return Check(name=name, verdict=Verdict.FAIL, detail=detail, remedy=remedy)


def python(_settings: Settings) -> Check:
    """The interpreter that the runner itself runs in."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036  # whoever starts us from a source tree may use any
        return fail("python", version, "Install Python 3.11 or newer.")
    return ok("python", version)


def git(settings: Settings) -> Check:
    said = answer(settings, "git", "--version")
    if said is None:
        return fail("git", "not found", "Install it:  sudo apt-get install git")
    numbers = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    if not numbers:
        return warn("git", said, "Install a release of git from your system's packages.")
    if not safe_git(*(int(number or 0) for number in numbers.groups())):
        return warn(
            "git",
            f"{numbers.group()}, which lacks the fixes of 2024 for hostile repositories",
            "Update it:  sudo apt-get update && sudo apt-get install git",
        )
    return ok("git", numbers.group())


def safe_git(major: int, minor: int, patch: int) -> bool:
    """Whether a git release has the fixes in `GIT_FIXES`."""
    return (major, minor) > (2, max(GIT_FIXES)) or (major == 2 and patch >= GIT_FIXES.get(minor, sys.maxsize))


def git_lfs(settings: Settings) -> Check:
    said = answer(settings, "git", "lfs", "version")
    if said is None:
        return warn(
            "git-lfs",
            "not found: Spaces with large files cannot be fetched",
            "Install it:  sudo apt-get install git-lfs",
        )
    return ok("git-lfs", said.split()[0].removeprefix("git-lfs/"))


def uv(settings: Settings) -> Check:
    from spaces_runner.environment import uv as tool

    try:
        binary = tool.binary(settings, None)
    except FileNotFoundError:
        return fail("uv", "not found", _UV_REMEDY)
    said = answer(settings, str(binary), "--version")
    if said is None:
        return fail("uv", f"{binary} does not run", _UV_REMEDY)
    return ok("uv", said.split()[1])


def home(settings: Settings) -> Check:
    """The state directory: there, or can be made."""
    place = nearest(settings.home_dir)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return fail("home", f"{settings.home} cannot be written", "Set SPACES_RUNNER_HOME to a directory of yours.")
    return ok("home", settings.home)


def home_open(settings: Settings) -> Check:
    """As root each Space runs as a user of its own, and must reach its files."""
    if os.geteuid() != 0:
        return ok("home-open", "Spaces run as you; as root each would have a user of its own")
    place = nearest(settings.home_dir)
    closed = [path for path in (place, *place.parents) if not path.stat().st_mode & 0o001]
    if closed:
        return fail(
            "home-open",
            f"other users may not enter {closed[0]}, and each Space runs as one",
            f"Set SPACES_RUNNER_HOME to another directory, or:  chmod o+x {closed[0]}",
        )
    return ok("home-open", "every Space's own user may enter")


def disk(settings: Settings) -> Check:
    free = shutil.disk_usage(nearest(settings.home_dir)).free
    remedy = "Free some:  spaces-runner prune  or set SPACES_RUNNER_HOME to a larger disk."
    if free < settings.disk_floor_bytes:
        return fail("disk", f"{size(free)} free, {size(settings.disk_floor_bytes)} are kept free", remedy)
    if free < settings.disk_floor_bytes + ROOMY_BYTES:
        return warn("disk", f"{size(free)} free; an environment with torch takes about 6 GB", remedy)
    return ok("disk", f"{size(free)} free")


def database(settings: Settings) -> Check:
    if not settings.database.exists():
        return ok("database", "none yet")
    try:
        connection = sqlite3.connect(f"{settings.database.as_uri()}?mode=ro", uri=True, timeout=COMMAND_TIMEOUT_S)
        try:
            said = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        return fail("database", f"{settings.database}: {said}", "Stop all Spaces and move the file away.")
    return ok("database", "intact")


def sandbox(settings: Settings) -> Check:
    """Whether a Space can be kept in, by trying to get out."""
    found = examine_sandbox(settings)
    said = made_of(found)
    reach = f"; a Space can still reach: {reached(found)}" if found.open else ""
    if not found.holds:
        return fail("sandbox", f"{said}{reach}", "Run as root, or on a kernel with Landlock (5.13 and newer).")
    if not (found.enclosed and found.filtered):
        return warn("sandbox", f"{said}{reach}", "A newer kernel, and the package libseccomp2, would close more.")
    return ok("sandbox", f"{said}{reach}")


def pythons(settings: Settings) -> Check:
    """The interpreters that Spaces can have without a download."""
    from spaces_runner.environment.pythons import installed

    found = sorted({python.minor for python in installed(settings)}, key=lambda minor: int(minor.partition(".")[2]))
    if not found:
        return warn("pythons", "none: each is fetched when a Space needs it", "Install one:  uv python install 3.10")
    return ok("pythons", ", ".join(found))


def gpus(settings: Settings) -> Check:
    from spaces_runner.gpu import inventory

    try:
        found = inventory(settings.visible_gpus)
    except RunnerError as error:
        return warn("gpu", error.message, error.hint or "Install NVIDIA's driver.")
    if not found:
        if settings.visible_gpus is not None and inventory():
            return warn(
                "gpu", "CUDA_VISIBLE_DEVICES leaves no GPU: Spaces run on the CPU", "Unset it, or name one in it."
            )
        return warn("gpu", "no NVIDIA GPU: Spaces run on the CPU", "If there is one, install NVIDIA's driver.")
    return ok("gpu", ", ".join(f"{gpu.name} ({size(gpu.free_bytes)} of {size(gpu.total_bytes)} free)" for gpu in found))


def containers(settings: Settings) -> Check:
    """Who builds and runs Docker Spaces."""
    from spaces_runner.containers.engine import find

    found = find(settings)
    if found.engine is None:
        said = f"{'; '.join(found.refusals)}: Docker Spaces cannot start"
        return warn("containers", said, "Install one:  sudo apt-get install podman")
    limits = "" if found.engine.limits else ", which cannot limit memory and processes for this user"
    return ok("containers", f"{found.engine.name} {found.version}{limits}")


def package_index(settings: Settings) -> Check:
    """Asked as a build asks it: by uv, with the settings that it gets, and no cache."""
    from spaces_runner.environment import uv as tool

    name = bare(settings.index_url) if settings.index_url else "uv's default index"
    with tempfile.TemporaryDirectory(prefix="spaces-runner-") as folder:
        room = tool.Room(cache=Path(folder, "cache"), home=Path(folder), tmp=Path(folder))
        once = {"UV_HTTP_RETRIES": "0"}
        client = tool.Uv(settings=settings, room=room, on_line=lambda line: None, variables=once)
        question = ("pip", "compile", "--quiet", "--no-deps", "--no-build", "--python", sys.executable, "-")
        try:
            answered = client.run(question, NETWORK_TIMEOUT_S, "pip\n").ok
        except FileNotFoundError:
            return warn("package-index", "not asked: there is no uv to ask it", _UV_REMEDY)
    if not answered:
        return warn(
            "package-index",
            f"{name} cannot be reached: new environments cannot be built",
            "Check the network, or name another index with UV_DEFAULT_INDEX.",
        )
    return ok("package-index", name)


def memory(settings: Settings) -> Check:
    there = psutil.virtual_memory()
    said = f"{size(there.available)} of {size(there.total)} available"
    if there.available < SMALLEST_APP_BYTES:
        return warn("memory", f"{said}; a Gradio app alone takes about 200 MB", "Stop Spaces that are not needed.")
    return ok("memory", said)


def hub(settings: Settings) -> Check:
    problem = unreachable(settings.hf_endpoint, settings, NETWORK_TIMEOUT_S)
    if problem:
        return warn(
            "hub",
            f"{bare(settings.hf_endpoint)} {problem}: only directories and fetched Spaces start",
            "Check the network, or set HF_ENDPOINT to a mirror.",
        )
    return ok("hub", bare(settings.hf_endpoint) + (", with a token" if settings.hf_token else ", without a token"))


def share_server(settings: Settings) -> Check:
    problem = unreachable(settings.share_server, settings, NETWORK_TIMEOUT_S)
    if problem:
        return warn(
            "share-server",
            f"{bare(settings.share_server)} {problem}: there are no public links",
            "Check the network, or name an own server with SPACES_RUNNER_SHARE_SERVER.",
        )
    return ok("share-server", bare(settings.share_server))


def answer(settings: Settings, *command: str) -> str | None:
    """The first line that a command prints; None when it is not there, fails or takes too long."""
    program = shutil.which(command[0], path=settings.path)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT_S,
            check=True,
            env={"PATH": settings.path, "LANG": "C.UTF-8"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.splitlines()), None)


def nearest(path: Path) -> Path:
    """`path`, or the nearest of its parents that exists."""
    return next((place for place in (path, *path.parents) if os.path.lexists(place)), Path("/"))
