"""Gives back disk that no Space uses. Knows which Space uses what; how each thing is removed, its own module knows."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from spaces_runner import environment
from spaces_runner.errors import SpaceBusy
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import RefKind, Stage


def prune(store: Store, settings: Settings, *, dry_run: bool, cache: bool) -> dict[str, list[str]]:
    """What was removed, or with `dry_run` would be, by kind: environments, mirrors, removed Spaces' leftovers."""
    return {
        "environments": _environments(store, settings, dry_run=dry_run),
        "mirrors": _mirrors(store, settings, dry_run=dry_run),
        "leftovers": _leftovers(store, settings, dry_run=dry_run),
        "caches": _caches(store, settings, dry_run=dry_run) if cache else [],
    }


def _caches(store: Store, settings: Settings, *, dry_run: bool) -> list[str]:
    """uv's packages, byte code and the answers of the resolver: fetched and made again when they are needed."""
    if any(run.status.stage is Stage.BUILDING for run in store.runs()):
        raise SpaceBusy("A Space is being built, from what would be removed.", hint="Try again when it is done.")
    folders = [path for path in (settings.uv_cache_dir, settings.home_dir / "resolutions") if path.is_dir()]
    if not dry_run:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    return sorted(folder.name for folder in folders)


def _mirrors(store: Store, settings: Settings, *, dry_run: bool) -> list[str]:
    """All but those of known Spaces. One that is being fetched is locked, and left for the next time."""
    from spaces_runner.checkout.mirror import mirror_path

    spaces = store.spaces()
    keep = {mirror_path(settings, space.ref) for space in spaces if space.ref.kind in (RefKind.HUB, RefKind.GIT)}
    marks = (settings.space(space.id).mirror_mark for space in spaces)
    keep |= {settings.mirrors_dir / mark.read_text() for mark in marks if mark.exists()}
    folders = settings.mirrors_dir.glob("*.git") if settings.mirrors_dir.is_dir() else ()
    unused = [path for path in folders if path not in keep]
    return sorted(path.name for path in unused if dry_run or _remove_mirror(path))


def _remove_mirror(path: Path) -> bool:
    try:
        with FileLock(path.with_suffix(".lock"), blocking=False):
            shutil.rmtree(path)
    except (Timeout, OSError):
        return False
    return True


def _environments(store: Store, settings: Settings, *, dry_run: bool) -> list[str]:
    """All but those that an overlay of a known Space stands in front of."""
    marks = (settings.space(space.id).root / "venv.fingerprint" for space in store.spaces())
    keep = frozenset(mark.read_text().strip() for mark in marks if mark.exists())
    if dry_run:
        folder = settings.environments_dir
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        return sorted(name for name in names - keep if not name.startswith("."))
    return sorted(environment.prune(settings, keep))


def _leftovers(store: Store, settings: Settings, *, dry_run: bool) -> list[str]:
    """Directories of Spaces that are not known any more, and what an interrupted removal left."""
    known = {space.id for space in store.spaces()}
    spaces = settings.spaces_dir.iterdir() if settings.spaces_dir.is_dir() else ()
    trash = settings.home_dir / "trash"
    found = [path for path in spaces if path.name not in known]
    found += list(trash.iterdir()) if trash.is_dir() else []
    if not dry_run:
        for path in found:
            shutil.rmtree(path, ignore_errors=True)
    return sorted(path.name for path in found)
