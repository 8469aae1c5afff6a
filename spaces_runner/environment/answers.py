"""Remembers what was resolved: the same requirements are not resolved twice on a day, the same commit never."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

from spaces_runner.codec import decode, encode
from spaces_runner.environment.workshop import Workshop
from spaces_runner.settings import Settings
from spaces_runner.types import Resolution

FRESH_S = 24 * 3600.0
KEPT_S = 90 * 24 * 3600.0


def recall(key: str, shop: Workshop) -> Resolution | None:
    """The answer that this commit got, else one of the last day that any Space may have."""
    folder = _folder(shop.settings)
    own = _read(folder / f"{key}-{shop.checkout.commit}.json")
    if own is None:
        own = _read(folder / f"{key}.json", newer_than=time.time() - FRESH_S)
        if own is not None:
            _write(folder / f"{key}-{shop.checkout.commit}.json", own)
    return replace(own, lock=shop.placed(own.lock)) if own else None


def remember(key: str, resolution: Resolution, shop: Workshop, *, shared: bool) -> None:
    """Keep the answer for this commit and, when `shared`, for every Space that asks the same."""
    kept = replace(resolution, lock=shop.portable(resolution.lock))
    folder = _folder(shop.settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # an index's URL may hold a password
    _write(folder / f"{key}-{shop.checkout.commit}.json", kept)
    if shared:
        _write(folder / f"{key}.json", kept)


def forget_old(settings: Settings) -> None:
    """Remove answers that nobody wrote or took for a season."""
    folder = _folder(settings)
    for path in folder.glob("*.json") if folder.is_dir() else ():
        if path.stat().st_mtime < time.time() - KEPT_S:
            path.unlink(missing_ok=True)


def _folder(settings: Settings) -> Path:
    return settings.home_dir / "resolutions"


def _read(path: Path, newer_than: float = 0.0) -> Resolution | None:
    try:
        if path.stat().st_mtime < newer_than:
            return None
        resolution = decode(Resolution, json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return resolution if Path(resolution.python).exists() else None


def _write(path: Path, resolution: Resolution) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    part.write_text(json.dumps(encode(resolution)))
    part.replace(path)
