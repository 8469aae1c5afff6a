"""Gives back disk that no Space uses. Knows which Space uses what; how each thing is removed, its own module knows."""

from __future__ import annotations

import shutil
import time

from spaces_runner import environment
from spaces_runner.containers import remove
from spaces_runner.containers.engine import find
from spaces_runner.errors import SpaceBusy
from spaces_runner.settings import INSPECTION, Settings
from spaces_runner.store import Store
from spaces_runner.types import RefKind, Stage

INSPECTION_S = 24 * 3600.0  # an inspection that began so long ago was killed


def prune(store: Store, settings: Settings, *, dry_run: bool, cache: bool) -> dict[str, list[str]]:
    """What was removed, or with `dry_run` would be, by kind: environments, mirrors, what removed Spaces left."""
    return {
        "environments": _environments(store, settings, dry_run=dry_run),
        "mirrors": _mirrors(store, settings, dry_run=dry_run),
        "leftovers": _leftovers(store, settings, dry_run=dry_run),
        "images": _images(store, settings, dry_run=dry_run),
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
    """All but those of known Spaces. One that is in use is left for the next time."""
    from spaces_runner.checkout.mirror import discard, mirror_path

    folders = list(settings.mirrors_dir.glob("*.git"))  # before the Spaces: what one brings meanwhile stays
    spaces = store.spaces()
    keep = {mirror_path(settings, space.ref) for space in spaces if space.ref.kind in (RefKind.HUB, RefKind.GIT)}
    marks = (settings.space(space.id).mirror_mark for space in spaces)
    keep |= {settings.mirrors_dir / mark.read_text() for mark in marks if mark.exists()}
    return sorted(path.name for path in folders if path not in keep and discard(path, dry_run=dry_run))


def _environments(store: Store, settings: Settings, *, dry_run: bool) -> list[str]:
    """All but those that an overlay of a known Space stands in front of."""
    marks = (settings.space(space.id).root / "venv.fingerprint" for space in store.spaces())
    keep = frozenset(mark.read_text().strip() for mark in marks if mark.exists())
    return sorted(environment.prune(settings, keep, dry_run=dry_run))


def _images(store: Store, settings: Settings, *, dry_run: bool) -> list[str]:
    """Those that an engine has of Spaces which are not known any more."""
    engine = find(settings).engine
    if engine is None:
        return []
    return remove.leftovers(engine, settings, {space.id for space in store.spaces()}, dry_run=dry_run)


def _leftovers(store: Store, settings: Settings, *, dry_run: bool) -> list[str]:
    """Directories of Spaces that are not known any more, and what a killed removal or inspection left."""
    spaces = list(settings.spaces_dir.glob("*"))  # before those that are known: one may be made meanwhile
    known = {space.id for space in store.spaces()}
    found = [path for path in spaces if path.name not in known]
    found += settings.home_dir.glob("trash/*")
    inspections = settings.home_dir.glob(f"{INSPECTION}*")
    found += [path for path in inspections if path.stat().st_mtime < time.time() - INSPECTION_S]
    if not dry_run:
        for path in found:
            shutil.rmtree(path, ignore_errors=True)
    return sorted(path.name for path in found)
