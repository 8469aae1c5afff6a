"""Text -> SpaceRef. (First version: directories and owner/name.)"""

from __future__ import annotations

import re
from pathlib import Path

from spaces_runner.errors import RefError
from spaces_runner.settings import Settings
from spaces_runner.types import RefKind, SpaceRef


def parse(text: str, settings: Settings) -> SpaceRef:
    """The Space that `text` names. Raises RefError."""
    text = text.strip()
    if Path(text).expanduser().is_dir():
        return SpaceRef(kind=RefKind.DIRECTORY, source=str(Path(text).expanduser().resolve()))
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", text):
        source, _, revision = text.partition("@")
        return SpaceRef(kind=RefKind.HUB, source=source, revision=revision or None)
    raise RefError(f"This names no Space: {text[:80]!r}", hint="Paste a Space's address, owner/name, or a directory.")
