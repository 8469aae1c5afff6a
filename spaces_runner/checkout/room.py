"""Whether what a checkout will write fits on the disks that it is written to. Knows how files are shared; fetches none.

A large file is in the mirror, and in the Space's tree under a second name or sharing its blocks: then it takes its room
once. Where neither can be (another file system; an executable, or a runner that is not root, without reflinks) it takes
it twice.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.checkout.layout import share_blocks
from spaces_runner.errors import DiskTooSmall
from spaces_runner.settings import Settings

FULL = r"No space left on device|Disk quota exceeded"  # as git and git-lfs say it, in lower case, too
_HINT = "Make room (spaces-runner prune), or move the state with SPACES_RUNNER_HOME to a larger disk."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How a file of one directory may come to be in another without taking room there."""

    names: bool  # by a second name
    blocks: bool  # by the same blocks, until one of them is written

    def copies(self, is_executable: bool) -> bool:
        """Whether `layout.share_file` has to copy. An executable's mode is its own, so it gets no second name."""
        return not (self.blocks or (self.names and not is_executable))


def sharing(source: Path, target: Path) -> Sharing:
    """Tried, with a file of one byte: mounts and file systems differ in what they say and what they do."""
    with tempfile.NamedTemporaryFile(dir=source, prefix="tmp-") as original:
        original.write(b"\0")
        original.flush()
        other = target / f"{Path(original.name).name}-shared"
        try:
            names = os.geteuid() == 0 and _linked(Path(original.name), other)
            other.unlink(missing_ok=True)
            with other.open("xb") as copy:
                return Sharing(names=names, blocks=share_blocks(original.fileno(), copy.fileno()))
        finally:
            other.unlink(missing_ok=True)


def _linked(source: Path, target: Path) -> bool:
    try:
        target.hardlink_to(source)
    except OSError:
        return False
    return True


def require(needs: Mapping[Path, int], settings: Settings) -> None:
    """`needs`: bytes that will be written below directories that exist. What is on one file system adds up.

    Raises DiskTooSmall where they would not leave the floor free.
    """
    disks: dict[int, list[Path]] = {}
    for directory in needs:
        disks.setdefault(directory.stat().st_dev, []).append(directory)
    for directories in disks.values():
        _require(sum(needs[directory] for directory in directories), directories, settings)


def _require(needed: int, directories: Iterable[Path], settings: Settings) -> None:
    first, *_ = directories
    free = shutil.disk_usage(first).free
    if free - needed < settings.disk_floor_bytes:
        raise DiskTooSmall(
            f"The Space's files need {_gigabytes(needed)} more, and {_gigabytes(free)} are free"
            f" ({_gigabytes(settings.disk_floor_bytes)} of them stay free).",
            hint=_HINT,
            lines=tuple(str(directory) for directory in directories),
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.2f} MB"


def full(lines: tuple[str, ...]) -> DiskTooSmall:
    """The error of a disk that became full on the way, as `lines` say."""
    return DiskTooSmall("The disk was full before all files had arrived.", hint=_HINT, lines=lines)
