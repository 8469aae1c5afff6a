"""Which platform a notebook runs on, and what that keeps, ends and passes on. Knows its rules; does nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT_VARIABLE = "SPACES_RUNNER_NOTEBOOK_ROOT"
LISTEN_VARIABLE = "SPACES_RUNNER_NOTEBOOK_LISTEN"
GB = 1000**3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """`platform` is "" where it is none that is known: then nothing is moved, limited or passed on.

    `shared` outlives the machine and may be read by a team: for what is public. `own` is the notebook's alone. `hours`
    are those after which the platform ends the machine, and `storage_bytes` what it lets one keep.
    """

    platform: str = ""
    shared: Path | None = None
    own: Path | None = None
    storage_bytes: int = 0
    hours: float | None = None
    native: str | None = None  # leads to `listen`
    listen: tuple[str, int] = ("0.0.0.0", 6006)


def detect(environ: Mapping[str, str]) -> Host:
    """By the variables that the platforms set. Raises ValueError where the address to listen on cannot be meant."""
    root = Path(environ.get(ROOT_VARIABLE) or "/")
    if _NAME.fullmatch(name := environ.get("PAPERSPACE_FQDN", "")):
        return Host(
            platform="Gradient",
            shared=_first(root / "storage", root / "notebooks"),
            own=_first(root / "notebooks", root / "storage"),
            storage_bytes=5 * GB,  # of the free plan; others have more
            hours=6,  # of a free machine; others are ended when their owner said
            native=f"https://tensorboard-{name}",
            listen=_listen(environ.get(LISTEN_VARIABLE) or "0.0.0.0:6006"),
        )
    if environ.get("KAGGLE_KERNEL_RUN_TYPE"):
        working = _first(root / "kaggle" / "working")
        return Host(platform="Kaggle", shared=working, own=working, storage_bytes=20 * GB, hours=12)
    return Host()


def _first(*folders: Path) -> Path | None:
    return next((folder for folder in folders if folder.is_dir()), None)


def _listen(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    if not address or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{LISTEN_VARIABLE} must be an address and a port, like 0.0.0.0:6006, not {text!r}")
    return address, int(port)
