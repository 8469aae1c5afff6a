"""Links that the platform this runs on has by itself. Knows their rules, opens nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """What reaches `port` of every address of this machine answers at `url`, too."""

    platform: str
    port: int
    url: str


def proxy(environ: Mapping[str, str]) -> Proxy | None:
    """Gradient's: a notebook's port 6006, meant for TensorBoard, is passed on whatever serves there."""
    name = environ.get("PAPERSPACE_FQDN", "")
    if not _NAME.fullmatch(name):
        return None
    return Proxy(platform="Gradient", port=6006, url=f"https://tensorboard-{name}")
