"""What a Space may reach of this machine's files. Pure but for where links lead."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.settings import Settings, SpaceDirs
from spaces_runner.types import Fence, Sandbox

# Programs, libraries, configuration; fonts; how names are looked up. No home, and no disk that is mounted.
SYSTEM = (
    "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/opt", "/etc", "/nix/store", "/sys",
    "/var/cache/fontconfig", "/var/lib/ghostscript", "/run/systemd/resolve", "/run/resolvconf",
)  # fmt: skip
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # everybody's: many a program writes there without asking
_PATH = re.compile(r"(?:^|[=:,])(/[^=:,]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an app is started with, besides its rooms: its own Python, and the environment behind that.

    `named`: the owner's own words for it, arguments and values of variables. What is a path among them may be read.
    """

    python: str
    prefix: str
    named: tuple[str, ...]


def fence(dirs: SpaceDirs, needs: Needs, settings: Settings, sandbox: Sandbox) -> Fence:
    """For the app in `dirs`."""
    interpreter = Path(needs.python).resolve().parents[1]
    kept = (interpreter, needs.prefix, settings.models_dir, *_sources(settings), *_paths(needs.named, settings))
    write = (dirs.app, dirs.data, dirs.home, dirs.venv, dirs.tmp, dirs.run)
    return Fence(
        read=tuple(dict.fromkeys((*SYSTEM, *map(str, kept)))),
        write=(*map(str, write), *TEMPORARY),
        enclosed=sandbox.enclosed,
        filtered=sandbox.filtered,
    )


def of_build(read: Iterable[Path | str], write: Iterable[Path], settings: Settings, sandbox: Sandbox) -> Fence:
    """For what builds a package: the system, what it is told to `read`, its own rooms."""
    return Fence(
        read=(*SYSTEM, *map(str, read), *_sources(settings)),
        write=(*map(str, write), *TEMPORARY),
        enclosed=sandbox.enclosed,
        filtered=sandbox.filtered,
    )


def _sources(settings: Settings) -> list[str]:
    """Folders of packages, and the certificates to trust."""
    folders = [link.removeprefix("file://") for link in settings.find_links]
    return [*folders, *([settings.ca_file] if settings.ca_file else [])]


def _paths(words: Iterable[str], settings: Settings) -> list[str]:
    """The paths in `words`, and where links lead that lie in them: a model's files in the Hub's cache are links.

    None that holds the runner's own state.
    """
    found = [Path(path) for word in words for path in _PATH.findall(word)]
    inside = [path for path in found if path.exists() and not settings.home_dir.is_relative_to(path.resolve())]
    linked = [entry.resolve() for path in inside if path.is_dir() for entry in path.iterdir() if entry.is_symlink()]
    return [str(path) for path in (*inside, *linked)]
