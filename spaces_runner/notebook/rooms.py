"""Puts the caches of the state directory where the platform keeps them, as far as that has room. Knows no Space.

The state directory itself stays on the machine's own disk: SQLite and the locks want a local one, and the secrets are
for nobody else. Only what anyone may read is moved: packages, interpreters and models that were fetched.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.errors import BadOption
from spaces_runner.format import size
from spaces_runner.notebook.host import GB, Host
from spaces_runner.settings import Settings

FOLDER = ".spaces-runner"
# What each wants of the place to be worth keeping there: a cache that fills it up is worse than none.
PYTHONS_BYTES = GB // 2
PACKAGES_BYTES = 10 * GB  # torch with CUDA's libraries takes five of them
MODELS_BYTES = 20 * GB  # one model of seven billion parameters takes thirteen

Free = Callable[[Path], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """`inside` is its room in the state directory, `name` the one that is kept."""

    what: str
    inside: Path
    name: str
    wants_bytes: int


def arrange(host: Host, settings: Settings, storage_bytes: int | None, free: Free | None = None) -> tuple[str, ...]:
    """Lead the caches to the kept place; returns a line for each thing that a person should know.

    What is in its place already stays as it is. Raises BadOption where the state directory is on the kept place itself.
    """
    _require_local(host, settings)
    settings.home_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    if host.shared is None:
        return ()
    try:
        allowed = host.storage_bytes if storage_bytes is None else storage_bytes
        room = min(allowed, (free or _free)(host.shared))
        led = [cache for cache in caches(settings) if cache.wants_bytes <= room and _lead(cache, host.shared)]
    except OSError as error:
        return (f"Nothing can be kept in {host.shared}: {error.strerror}. Caches end with this machine.",)
    return _told(led, [cache for cache in caches(settings) if cache.wants_bytes > room], host.shared, room)


def caches(settings: Settings) -> tuple[Cache, ...]:
    return (
        Cache(what="Pythons", inside=settings.pythons_dir, name="pythons", wants_bytes=PYTHONS_BYTES),
        Cache(what="packages", inside=settings.uv_cache_dir, name="packages", wants_bytes=PACKAGES_BYTES),
        Cache(what="Spaces' models", inside=settings.models_dir, name="models", wants_bytes=MODELS_BYTES),
        Cache(what="chat models", inside=chat_models(settings), name="chat-models", wants_bytes=MODELS_BYTES),
    )


def chat_models(settings: Settings) -> Path:
    """What the core fetches. Apart from the Spaces' models, which every Space may read."""
    return settings.home_dir / "chat-models"


def snapshot(host: Host) -> Path | None:
    """The copy of the state database; None where nothing is kept."""
    return host.own / FOLDER / "state.db" if host.own else None


def _require_local(host: Host, settings: Settings) -> None:
    for folder in (host.shared, host.own) if host.platform == "Gradient" else ():
        if folder and settings.home_dir.resolve().is_relative_to(folder.resolve()):
            raise BadOption(
                f"The state directory {settings.home} is on {folder}, a network disk that others may read.",
                hint="Leave SPACES_RUNNER_HOME unset: caches and a copy of the state are kept there by themselves.",
            )


def _lead(cache: Cache, shared: Path) -> bool:
    """Whether the cache's room is a way to the kept place now. Raises OSError."""
    kept = shared / FOLDER / cache.name
    kept.mkdir(mode=0o755, parents=True, exist_ok=True)
    cache.inside.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not cache.inside.is_symlink() and not cache.inside.exists():
        cache.inside.symlink_to(kept)
    return cache.inside.resolve() == kept.resolve()


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _told(kept: list[Cache], left: list[Cache], shared: Path, room: int) -> tuple[str, ...]:
    lines = [f"Kept in {shared / FOLDER}: {', '.join(cache.what for cache in kept)}."] if kept else []
    if left:
        lines.append(
            f"Not kept, since {shared} has {size(room)} for it: "
            + ", ".join(f"{cache.what} ({size(cache.wants_bytes)} wanted)" for cache in left)
            + ". STORAGE_GB says if there is more."
        )
    return tuple(lines)
