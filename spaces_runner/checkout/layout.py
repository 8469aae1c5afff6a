"""Lays a planned tree out on disk, all of it or nothing. Knows files; not where they come from.

Everything goes to a sibling of the target first and takes the target's place when it is complete.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from spaces_runner.checkout.tree import Entry, Layout
from spaces_runner.errors import CheckoutError, DiskTooSmall, UnsafeTree

_FICLONE = 0x40049409  # ioctl of linux/fs.h: share the blocks of another file until one of them is written


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """An empty directory beside `target` that takes its place when the block ends well, and vanishes otherwise."""
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary, old = (target.with_name(f"tmp-{kind}-{target.name}") for kind in ("new", "old"))
    for path in (temporary, old):  # of a launch that was killed
        shutil.rmtree(path, ignore_errors=True)
    temporary.mkdir(mode=0o755)
    temporary.chmod(0o755)
    try:
        with _disk_errors(target):
            yield temporary
        if target.exists() or target.is_symlink():
            target.rename(old)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def lay_out(layout: Layout, root: Path, write: Callable[[Entry, Path], None]) -> None:
    """The directories, the files, and the links last: no file is ever written through a link of the tree.

    `write` makes one file, which is not there yet. Raises UnsafeTree where two entries claim one name.
    """
    try:
        for directory in _directories(layout):
            (root / directory).mkdir(mode=0o755)
            (root / directory).chmod(0o755)
        for entry in layout.files:
            write(entry, root / entry.path)
        for path, target in layout.links.items():
            (root / path).symlink_to(target)
    except (FileExistsError, NotADirectoryError) as error:
        hint = "Do not run it: a tree like this is made to write where it should not."
        raise UnsafeTree("Two of its files have the same name.", hint=hint, lines=(str(error),)) from error


@contextmanager
def new_file(path: Path, executable: bool) -> Iterator[BinaryIO]:
    """A new file to write, never an existing one and never through a link; readable by all whatever the umask is."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        os.fchmod(descriptor, 0o755 if executable else 0o644)
        yield file


def copy_file(source: Path, target: Path, executable: bool) -> None:
    """A copy of its own, sharing blocks where the file system can. Raises OSError."""
    with source.open("rb") as original, new_file(target, executable) as copy:
        if not share_blocks(original.fileno(), copy.fileno()):
            shutil.copyfileobj(original, copy, 1 << 20)


def share_blocks(source: int, target: int) -> bool:
    """Have the file of one descriptor share the blocks of another's. False where nothing was done."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # another file system, or one that cannot
        return False
    return True


def share_file(source: Path, target: Path, executable: bool) -> None:
    """`source`, which is read-only, under a second name; a copy where that does not protect it.

    The owner of a file may make it writable again. So a link is only for what root owns and another user reads.
    """
    if os.geteuid() == 0 and not executable:
        try:
            target.hardlink_to(source)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                raise
        else:
            return
    copy_file(source, target, executable)


def _directories(layout: Layout) -> Iterable[str]:
    """Every directory that something lies in, parents first."""
    found = dict.fromkeys(layout.directories)
    for path in (*(entry.path for entry in layout.files), *layout.links, *layout.directories):
        while path := path.rpartition("/")[0]:
            found[path] = None
    return sorted(found)


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "Make room: spaces-runner prune"
            raise DiskTooSmall(f"The disk under {target.parent} is full.", hint=hint) from error
        hint = "Check the permissions of the state directory and of the source."
        lines = (f"{error.strerror}: {error.filename!a}",)
        raise CheckoutError("The Space's files could not be laid out.", hint=hint, lines=lines) from error
