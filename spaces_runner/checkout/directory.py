"""A directory of this machine -> Checkout: a copy, and a hash of its contents for a commit.

No git is run in it: whoever wrote the directory could have left hooks and filters there. The date of its last commit
is read from git's object files instead.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from spaces_runner.checkout import subfolder
from spaces_runner.checkout.layout import copy_file, lay_out, replacing
from spaces_runner.checkout.tree import Entry, Layout, plan
from spaces_runner.errors import CheckoutError
from spaces_runner.types import Checkout, Finding, Severity, SpaceFile, SpaceRef

_LEFT_OUT = frozenset({".git", ".venv", "__pycache__"})
_SHOWN = 10
_COMMIT = re.compile(r"[0-9a-f]{40}")
_COMMITTER = re.compile(rb"^committer .*> (\d{1,12}) [+-]\d{4}$", re.MULTILINE)


def copy_directory(ref: SpaceRef, target: Path, home: Path) -> Checkout:
    """A copy of the directory at `target`, in its place; without `home`, where the runner's state is.

    Of a directory that is no Space and holds one in a folder, that folder. Raises CheckoutError or UnsafeTree.
    """
    source = Path(ref.source)
    if not source.is_dir():
        raise CheckoutError(f"There is no directory {ref.source}.", hint="Check its name.")
    found = list(_entries(source, _identities(home, target)))
    top = source
    folder = subfolder.choose(found, lambda entry: (top / entry.path).read_bytes())
    entries, source = subfolder.inside(found, folder), top / folder
    layout = plan([entry for entry in entries if entry.is_file or entry.is_link], lambda entry: _target(source, entry))

    def write(entry: Entry, path: Path) -> None:
        copy_file(source / entry.path, path, entry.is_executable)

    with replacing(target) as root:
        lay_out(layout, root, write)
        commit, size = _read(layout, root)
    return Checkout(
        ref=ref,
        commit=commit,
        path=str(target),
        committed_at=committed_at(top / ".git"),
        size_bytes=size,
        files=tuple(SpaceFile(path=entry.path, size_bytes=entry.size) for entry in layout.files),
        findings=(*layout.findings, *_special(entries), *subfolder.findings(folder, asked="")),
    )


def _entries(source: Path, skipped: frozenset[tuple[int, int]]) -> Iterator[Entry]:
    """Every file and link below `source`, without following links. `skipped` are directories as (device, inode)."""
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            found = sorted(os.scandir(source / folder), key=lambda item: item.name)
        except OSError as error:
            hint = "Check its permissions."
            raise CheckoutError(f"The directory {source / folder} cannot be read.", hint=hint) from error
        for item in found:
            path = f"{folder}/{item.name}" if folder else item.name
            status = item.stat(follow_symlinks=False)
            if item.name in _LEFT_OUT or (status.st_dev, status.st_ino) in skipped:
                continue
            if item.is_dir(follow_symlinks=False):
                pending.append(path)
            else:
                yield Entry(path=path, mode=status.st_mode, size=status.st_size)


def _identities(*paths: Path) -> frozenset[tuple[int, int]]:
    """The paths that exist, as (device, inode)."""
    found = [path.stat() for path in paths if path.exists()]
    return frozenset((status.st_dev, status.st_ino) for status in found)


def _target(source: Path, entry: Entry) -> str:
    return str((source / entry.path).readlink())


def _read(layout: Layout, root: Path) -> tuple[str, int]:
    """The hash of the copy and its bytes."""
    digest, size = hashlib.sha1(usedforsecurity=False), 0
    for entry in sorted(layout.files, key=lambda entry: entry.path):
        with (root / entry.path).open("rb") as file:
            digest.update(f"{entry.path}\0{entry.is_executable}\0".encode())
            digest.update(hashlib.file_digest(file, "sha1").digest())
            size += os.fstat(file.fileno()).st_size
    for path, target in sorted(layout.links.items()):
        digest.update(f"{path}\0{target}\0".encode())
    return digest.hexdigest(), size


def _special(entries: list[Entry]) -> tuple[Finding, ...]:
    paths = [entry.path for entry in entries if not (entry.is_file or entry.is_link)]
    if not paths:
        return ()
    message = f"{len(paths)} socket(s), pipe(s) or device(s) were left out."
    lines = tuple(ascii(path) for path in paths[:_SHOWN])
    return (Finding(code="special-file-left-out", severity=Severity.INFO, message=message, lines=lines),)


def committed_at(git_dir: Path) -> str | None:
    """When the commit at HEAD was made, in UTC, read with gitdb, which runs nothing. None where that cannot be told."""
    if not git_dir.is_dir():
        return None
    import gitdb
    from gitdb.exc import ODBError

    try:
        sha = _head(git_dir)
        content = gitdb.GitDB(str(git_dir / "objects")).stream(bytes.fromhex(sha)).read(1 << 16) if sha else b""
        match = _COMMITTER.search(content)
        return datetime.fromtimestamp(int(match[1]), UTC).isoformat() if match else None
    except (ODBError, OSError, ValueError, LookupError, AssertionError, OverflowError, struct.error, zlib.error):
        return None  # a repository of another shape, or one made to confuse


def _head(git_dir: Path) -> str | None:
    """The commit of HEAD, from the plain files that git keeps it in."""
    head = (git_dir / "HEAD").read_text()[:1000].strip()
    name = head.removeprefix("ref: ")
    if name == head:
        return head if _COMMIT.fullmatch(head) else None
    if not re.fullmatch(r"refs/[A-Za-z0-9_./-]+", name) or ".." in name:
        return None
    if (git_dir / name).is_file():
        sha = (git_dir / name).read_text()[:100].strip()
        return sha if _COMMIT.fullmatch(sha) else None
    packed = (line.split(" ", 1) for line in (git_dir / "packed-refs").read_text().splitlines() if " " in line)
    return next((sha for sha, found in packed if found == name and _COMMIT.fullmatch(sha)), None)
