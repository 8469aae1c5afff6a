"""Which preset the core chose, and why: it writes that down before it answers. Knows no process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.core import keys
from spaces_runner.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`why` is a sentence; "" where the preset was asked for by name."""

    preset: str
    why: str


def path(settings: Settings) -> Path:
    return keys.directory(settings) / "choice.json"


def read(settings: Settings) -> Choice | None:
    """None where the core that was started last has not chosen yet."""
    try:
        said = json.loads(path(settings).read_text("utf-8"))
        return Choice(preset=str(said["preset"]), why=str(said["why"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(settings: Settings) -> None:
    """Of the core that ran before."""
    path(settings).unlink(missing_ok=True)
