"""Log files: raw bytes in, rotated and without secrets; harmless lines out. Knows no Space and no process.

`run.log` is written to; `run.log.1` is the newest of those that were full. What had to be dropped is counted in
`run.log.dropped`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from spaces_runner.masking import Masker
from spaces_runner.sanitize import clean_lines

_BLOCK = 64 * 1024
_PENDING = 64 * 1024  # of a line that does not end: it is shown as it is
_POLL_S = 0.2
_TAIL_BYTES = 16 * 1024**2  # at most read for a tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Between two bytes of a log: a file, whatever it is called by now, and how many of its bytes are before."""

    inode: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """What rotation threw away of a log."""

    files: int = 0
    bytes: int = 0
    lines: int = 0


class LogWriter:
    """Appends to a log file. Full at `limit` bytes, it is rotated at the next line's end; `keep` files are kept."""

    def __init__(self, path: Path, *, limit: int, keep: int, secrets: Iterable[str] = ()) -> None:
        self._path, self._limit, self._keep = path, limit, max(1, keep)
        self._masker = Masker(secrets)
        self._file = self._open()
        self._size = os.fstat(self._file).st_size

    def write(self, chunk: bytes) -> None:
        """Append bytes as they came; a chunk may end anywhere."""
        self._put(self._masker.feed(chunk))

    def close(self) -> None:
        """Write what was held back, and close. Can be called again."""
        if self._file >= 0:
            self._put(self._masker.rest())
            os.close(self._file)
            self._file = -1

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while self._size + len(view) > self._limit:
            # The first line end past the limit, or the last before it where the chunk has none behind.
            end = data.find(b"\n", max(0, self._limit - self._size) + len(data) - len(view))
            if end < 0:
                break
            used = end + 1 - (len(data) - len(view))
            self._append(view[:used])
            view = view[used:]
            self._rotate()
        self._append(view)

    def _append(self, view: memoryview) -> None:
        if self._file < 0:  # the last rotation could not make it
            self._file = self._open()
        while view:
            written = os.write(self._file, view)
            self._size += written
            view = view[written:]

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _rotate(self) -> None:
        """The file is open again whatever fails: its number would be another file's by then."""
        try:
            self._move()
        finally:
            os.close(self._file)
            self._file = -1
            self._file = self._open()
            self._size = os.fstat(self._file).st_size

    def _move(self) -> None:
        oldest = _numbered(self._path, self._keep - 1) if self._keep > 1 else self._path
        if oldest.exists():
            gone = self._with(oldest)
            oldest.unlink()  # first: where the disk is full, this makes room for the rest
            self._tell_dropped(gone)
        for number in range(self._keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                _numbered(self._path, number - 1).rename(_numbered(self._path, number))

    def _with(self, gone: Path) -> Dropped:
        """What will have been thrown away with `gone`."""
        before = dropped(self._path)
        size, lines = gone.stat().st_size, _count_lines(gone)
        return Dropped(files=before.files + 1, bytes=before.bytes + size, lines=before.lines + lines)

    def _tell_dropped(self, dropped: Dropped) -> None:
        sidecar = _sidecar(self._path)
        part = sidecar.with_name(sidecar.name + ".part")
        part.write_text(json.dumps(asdict(dropped)))
        part.replace(sidecar)


def dropped(path: Path) -> Dropped:
    """What rotation threw away of the log at `path`."""
    try:
        return Dropped(**json.loads(_sidecar(path).read_text()))
    except (OSError, ValueError, TypeError):
        return Dropped()


def erase(path: Path) -> None:
    """Remove a log with all that was rotated."""
    for file in (*files(path), _sidecar(path)):
        file.unlink(missing_ok=True)


def files(path: Path) -> tuple[Path, ...]:
    """The files of a log that exist, oldest first."""
    numbers = [int(suffix) for found in path.parent.glob(f"{path.name}.*")
               if (suffix := found.name.removeprefix(f"{path.name}.")).isdigit()]  # fmt: skip
    return tuple(file for number in (*sorted(numbers, reverse=True), 0) if (file := _numbered(path, number)).exists())


def tail(path: Path, count: int, until: Place | None = None) -> list[str]:
    """The last `count` lines, up to a place where one is given, across rotated files, as harmless text without ends."""
    if count <= 0:
        return []
    blocks: list[bytes] = []
    ends = size = 0
    for block in _blocks_backwards(path, until):
        blocks.append(block)
        ends, size = ends + block.count(b"\n"), size + len(block)
        if ends > count or size > _TAIL_BYTES:
            break
    data = b"".join(reversed(blocks))
    lines = data.split(b"\n")
    complete = lines[:-1] if data.endswith(b"\n") else lines
    return clean_lines(b"\n".join(complete[-count:])) if data else []


def follow(path: Path, *, going: Callable[[], bool], offset: int | None = None, before: int = 0) -> Iterator[str]:
    """Harmless lines from byte `offset` of the current file (None: its end) on, while `going()`, and then the rest.

    The `before` last lines up to there come first: none between them and what is followed is missing or comes twice.
    """
    reader = _Reader(path, offset)
    try:
        if (place := reader.place) is not None:
            yield from tail(path, before, place)
        while True:
            last = not going()  # asked before reading: what came until then is read
            yield from reader.lines(last)
            if last:
                return
            time.sleep(_POLL_S)
    finally:
        reader.close()


def whole(path: Path) -> Iterator[str]:
    """All harmless lines that are kept of a log, from the oldest file on."""
    reader = _Reader(path, 0, first=next(iter(files(path)), path))
    try:
        yield from reader.lines(last=True)
    finally:
        reader.close()


class _Reader:
    """Reads a log on from its file `first` (None: the current one), also while it is rotated under it."""

    def __init__(self, path: Path, offset: int | None, first: Path | None = None) -> None:
        self._path = path
        self._pending = b""
        self._file = self._try_open(first or path)
        if self._file >= 0:
            os.lseek(self._file, offset or 0, os.SEEK_END if offset is None else os.SEEK_SET)

    @property
    def place(self) -> Place | None:
        """What is read next; None where there is no file yet."""
        if self._file < 0:
            return None
        return Place(inode=os.fstat(self._file).st_ino, offset=os.lseek(self._file, 0, os.SEEK_CUR))

    def lines(self, last: bool) -> Iterator[str]:
        for data in self._data():
            self._pending += data
            if b"\n" in data or len(self._pending) > _PENDING:
                whole, _, self._pending = self._pending.rpartition(b"\n")
                if not whole and len(self._pending) > _PENDING:
                    whole, self._pending = self._pending, b""
                yield from clean_lines(whole + b"\n")
        if last and self._pending:
            yield from clean_lines(self._pending)
            self._pending = b""

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _data(self) -> Iterator[bytes]:
        if self._file < 0:
            self._file = self._try_open(self._path)
        while self._file >= 0:
            while data := os.read(self._file, _BLOCK):
                yield data
            following = self._next()
            if following is None:
                return
            while data := os.read(self._file, _BLOCK):  # what was written before it was rotated away
                yield data
            os.close(self._file)
            self._file = following

    def _next(self) -> int | None:
        """The file after the one that is open, where that was rotated."""
        here = os.fstat(self._file).st_ino
        newer = None
        for file in reversed(files(self._path)):
            found = self._try_open(file)
            if found < 0:
                continue
            if os.fstat(found).st_ino == here:
                os.close(found)
                return newer
            if newer is not None:
                os.close(newer)
            newer = found
        return newer  # ours was dropped: the oldest that there is

    @staticmethod
    def _try_open(path: Path) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1


def _blocks_backwards(path: Path, until: Place | None = None) -> Iterator[bytes]:
    for file in reversed(files(path)):
        with suppress(FileNotFoundError), file.open("rb") as log:
            position = log.seek(0, os.SEEK_END)
            if until is not None:
                if os.fstat(log.fileno()).st_ino != until.inode:
                    continue  # newer than the place
                position, until = until.offset, None
            while position > 0:
                start = max(0, position - _BLOCK)
                log.seek(start)
                yield log.read(position - start)
                position = start


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.dropped")


def _count_lines(path: Path) -> int:
    with path.open("rb") as log:
        return sum(block.count(b"\n") for block in iter(lambda: log.read(1024**2), b""))
