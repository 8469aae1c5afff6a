"""The files of a commit as git lists them, up to as many as an honest one has. Knows no meaning of them.

A tree may hold another many times over at no cost: ten trees of ten entries each list ten thousand million files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from subprocess import Popen
from typing import IO

from spaces_runner.checkout.tree import Entry
from spaces_runner.errors import CheckoutError, UnsafeTree

MAX_FILES = 200_000
MAX_BYTES = 64 * 1024**2  # of names and what stands beside them
_PIECE = 1 << 20
_END_S = 10.0  # for a command that has closed its output
_AGAIN = "Start it again. If that does not help, remove the Space's copy with: spaces-runner prune"


def entries(start: Callable[..., Popen[bytes]], sha: str) -> list[Entry]:
    """Every file of the commit, subdirectories included, in git's order. `start` starts git with pipes at its ends.

    Raises UnsafeTree where there are too many, CheckoutError where the commit cannot be read.
    """
    process = start("ls-tree", "-r", "-z", "--long", "--full-tree", sha)
    try:
        if process.stdout is None:
            raise ValueError("the command was started without pipes")
        listing = b"".join(_bounded(process.stdout))
        failed = process.wait(_END_S) != 0
    finally:
        process.kill()  # it only reads
        process.communicate()
    if failed:
        raise CheckoutError("git could not read its copy of the Space.", hint=_AGAIN)
    return [_entry(line) for line in listing.split(b"\0") if line]


def _bounded(said: IO[bytes]) -> Iterator[bytes]:
    files = size = 0
    while piece := said.read(_PIECE):
        files, size = files + piece.count(b"\0"), size + len(piece)
        if files > MAX_FILES or size > MAX_BYTES:
            raise UnsafeTree(
                f"It holds more than {MAX_FILES} files, or names without end.",
                hint="Do not run it: no Space needs so many files. Its author can put them into an archive.",
            )
        yield piece


def _entry(line: bytes) -> Entry:
    """One line of `ls-tree --long -z`: mode, type, object, size (or `-`), tab, path."""
    about, _, path = line.partition(b"\t")
    mode, _, sha, size = about.split()
    return Entry(
        path=path.decode(errors="surrogateescape"),
        mode=int(mode, 8),
        blob=sha.decode(),
        size=0 if size == b"-" else int(size),
    )
