"""Reads what uv locked (PEP 751, pylock.toml) and takes it apart: what is a wheel, and what has to be built (pure)."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit

_BLOCK = "[[packages]]"


class Origin(StrEnum):
    INDEX_WHEEL = "index-wheel"
    REMOTE_WHEEL = "remote-wheel"  # named by its URL
    LOCAL_WHEEL = "local-wheel"  # a file of the Space
    SOURCE = "source"  # there is no wheel: building runs code


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One locked package. `requirement` is what a resolver takes to get exactly it."""

    name: str
    version: str
    origin: Origin
    requirement: str

    @property
    def own(self) -> bool:
        """Whether it comes out of the Space, or of code that ran as the Space: nobody else may be given it."""
        return self.origin in (Origin.LOCAL_WHEEL, Origin.SOURCE)

    def __str__(self) -> str:
        return self.requirement


def packages(lock: str) -> tuple[Package, ...]:
    """The packages of a lock, in its order. Raises ValueError for text that is none."""
    return tuple(_package(entry) for entry in tomllib.loads(lock).get("packages", []))


def installable(lock: str, index: str) -> str:
    """The lock without what has to be built and without wheels that are files of the Space.

    Each package says that it is of `index`: uv looks for such a one in its cache first, and fetches one of no index
    again. What is fetched is what the lock names, by URL and hash, wherever that lies.
    """
    head, *blocks = lock.split(f"\n{_BLOCK}\n")
    kept = [block for block in blocks if not packages(f"{_BLOCK}\n{block}")[0].own]
    return f"\n{_BLOCK}\n".join([head, *(_with_index(block, index) for block in kept)])


def upload_time(lock: str, name: str) -> str | None:
    """When the first file of `name` was uploaded (ISO 8601), where the index says so."""
    for entry in tomllib.loads(lock).get("packages", []):
        if entry["name"] == name:
            files = [*entry.get("wheels", []), *([entry["sdist"]] if "sdist" in entry else [])]
            times = [file["upload-time"] for file in files if "upload-time" in file]
            return min(times).isoformat() if times else None
    return None


def _package(entry: dict[str, Any]) -> Package:
    name, version = str(entry["name"]), str(entry.get("version", ""))
    origin, requirement = Origin.SOURCE, f"{name}=={version}"
    if "wheels" in entry:
        origin = Origin.INDEX_WHEEL
    elif "vcs" in entry:
        requirement = f"{name} @ {_vcs(entry['vcs'])}"
    elif "directory" in entry:
        requirement = f"{name} @ file:///{entry['directory']['path'].lstrip('/')}"
    elif "archive" in entry:
        url = entry["archive"].get("url") or f"file:///{entry['archive']['path'].lstrip('/')}"
        requirement = f"{name} @ {url}"
        if unquote(urlsplit(url).path).endswith(".whl"):
            origin = Origin.REMOTE_WHEEL if "url" in entry["archive"] else Origin.LOCAL_WHEEL
    return Package(name=name, version=version, origin=origin, requirement=requirement)


def _with_index(block: str, index: str) -> str:
    if "\nwheels = " not in block or "\nindex = " in block:
        return block
    return re.sub(r'^(version = ".*")$', rf'\1\nindex = "{index}"', block, count=1, flags=re.MULTILINE)


def _vcs(entry: dict[str, Any]) -> str:
    folder = f"#subdirectory={entry['subdirectory']}" if entry.get("subdirectory") else ""
    return f"{entry['type']}+{entry.get('url') or entry['path']}@{entry['commit-id']}{folder}"
