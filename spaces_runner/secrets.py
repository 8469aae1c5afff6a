"""Per-Space secret values, in files of mode 0600 apart from the database. Knows nothing of how they are used."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spaces_runner.settings import Settings


@dataclass(frozen=True, slots=True)
class Secrets(Mapping[str, str]):
    """Values by name, which are never shown."""

    values_by_name: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> str:
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


def read(settings: Settings, space_id: str) -> Secrets:
    """The secrets of a Space; none where it has none."""
    try:
        return Secrets(json.loads(_path(settings, space_id).read_text()))
    except FileNotFoundError:
        return Secrets()


def add(settings: Settings, space_id: str, values: Mapping[str, str]) -> None:
    """Set values, and keep those of other names."""
    replace(settings, space_id, {**read(settings, space_id), **values})


def replace(settings: Settings, space_id: str, values: Mapping[str, str]) -> None:
    """Make these the Space's secrets. Either all of it happens or nothing."""
    path = _path(settings, space_id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(dict(values), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def remove(settings: Settings, space_id: str) -> None:
    """Remove all that the Space has."""
    _path(settings, space_id).unlink(missing_ok=True)


def _path(settings: Settings, space_id: str) -> Path:
    return settings.secrets_dir / f"{space_id}.json"
