"""Model files. (First version: nothing to prefetch.)"""

from __future__ import annotations

from spaces_runner.report import Reporter
from spaces_runner.settings import Settings


def prefetch(entries: tuple[str, ...], settings: Settings, report: Reporter) -> None:
    """Fetch what `preload_from_hub` names."""
