"""Git LFS: which files of a commit are pointers, and their objects in the mirror, whole and verified.

Knows the pointer format and git-lfs; not what the objects are for. An object that was verified is read-only: that is
the mark, and it is what lets every Space share it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from spaces_runner.checkout import room
from spaces_runner.checkout.mirror import Mirror
from spaces_runner.checkout.patience import Patience
from spaces_runner.checkout.tree import Entry
from spaces_runner.errors import CheckoutError, LfsFailed

POINTER_BYTES = 1024  # the format's own limit
VERIFIED = 0o444
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\r?\n(?:ext-.*\r?\n)*"
    rb"oid sha256:([0-9a-f]{64})\r?\nsize (\d{1,18})\s*"
)
_NAMED = 5  # files that an error names
_READ = re.compile(r".*\.(py|toml|cfg)|readme\.md|.*(requirements|packages|constraints).*\.(txt|in)", re.IGNORECASE)
_READ_BYTES = 1 << 20  # larger ones are data
_STALLS = 5  # git-lfs ends each itself and tries again, but waits for good where it is refused without a challenge
_AT_ONCE = 25  # paths of 4 KiB at most in one argument, which may have 128 KiB

# Told of the bytes that are here, of all that are needed.
BytesProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    path: str
    oid: str  # SHA-256, 64 hex digits
    size: int  # bytes


def parse_pointer(content: bytes, path: str) -> Pointer | None:
    """The pointer that a file's content is; None for every other content. Pure."""
    match = _POINTER.fullmatch(content) if len(content) < POINTER_BYTES else None
    return Pointer(path=path, oid=match[1].decode(), size=int(match[2])) if match else None


def pointers(mirror: Mirror, files: Sequence[Entry]) -> tuple[Pointer, ...]:
    """The pointers among a commit's files. The smallest is of 120 bytes or so, the largest below 1 KiB."""
    small = [entry for entry in files if 100 <= entry.size < POINTER_BYTES]
    found = (parse_pointer(mirror.read(entry.blob), entry.path) for entry in small)
    return tuple(pointer for pointer in found if pointer)


def says_how_it_is_built(pointer: Pointer) -> bool:
    """Whether the object is small text that a plan is made from, or a wheel, which a requirement may name."""
    name = PurePosixPath(pointer.path).name
    return name.endswith(".whl") or (pointer.size <= _READ_BYTES and bool(_READ.fullmatch(name)))


def object_path(mirror: Mirror, oid: str) -> Path:
    return mirror.path / "lfs" / "objects" / oid[:2] / oid[2:4] / oid


def missing(mirror: Mirror, wanted: Iterable[Pointer]) -> dict[str, Pointer]:
    """By hash, the objects that are not here verified."""
    return {pointer.oid: pointer for pointer in wanted if pointer.size and not _is_verified(mirror, pointer)}


def absent_bytes(mirror: Mirror, wanted: Iterable[Pointer]) -> int:
    """How much is to be fetched."""
    return sum(pointer.size for pointer in missing(mirror, wanted).values())


def unwritten_bytes(mirror: Mirror, wanted: Iterable[Pointer]) -> int:
    """How much disk a fetch will take: less than what is absent where an interrupted one left a part of it."""
    absent = missing(mirror, wanted)
    return max(0, sum(pointer.size for pointer in absent.values()) - _arrived(mirror, absent))


def fetch(
    mirror: Mirror, sha: str, wanted: Sequence[Pointer], progress: BytesProgress, *, everything: bool = True
) -> int:
    """Have these objects of the commit here, verified. To be called under the mirror's lock.

    `everything`: they are all that the commit has.
    Returns the bytes that were fetched. What an interrupted fetch brought is used. Raises LfsFailed.
    """
    absent = missing(mirror, wanted)
    if not absent:
        return 0
    total = sum(pointer.size for pointer in absent.values())
    before = _arrived(mirror, absent)
    patience = Patience(limit_s=_STALLS * mirror.settings.network_stall_s)

    def tick() -> None:
        arrived = _arrived(mirror, absent)
        progress(min(arrived, total), total)
        if patience.is_over(arrived):
            raise _stalled(patience.limit_s)

    # `origin` and its LFS address come with the environment, and so win over the commit's `.lfsconfig`.
    said: list[str] = []
    for only in [()] if everything else _choices(absent.values()):
        _, lines = mirror.command.transfer("lfs", "fetch", *only, "origin", sha, line=lambda text: None, tick=tick)
        said += lines
    _verify(mirror, absent)
    if left := missing(mirror, wanted):
        raise _failure(left, wanted, tuple(said))
    progress(total, total)
    return total - before


def _choices(some: Iterable[Pointer]) -> Iterator[tuple[str, ...]]:
    """The arguments that have git-lfs fetch only these, a few at a time."""
    patterns = [_pattern(pointer.path) for pointer in some]
    for first in range(0, len(patterns), _AT_ONCE):
        yield (f"--include={','.join(patterns[first : first + _AT_ONCE])}",)


def _pattern(path: str) -> str:
    """A path as git-lfs takes it in a list of patterns, which has no way to quote what has a meaning there."""
    return "/" + re.sub(r"[^\w./-]", "?", path)


def _verify(mirror: Mirror, absent: dict[str, Pointer]) -> None:
    """Mark the whole objects, once, and remove the others: they would be taken for whole later."""
    for oid, pointer in absent.items():
        path = object_path(mirror, oid)
        if not path.is_file():
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest == oid and path.stat().st_size == pointer.size:
            path.chmod(VERIFIED)
        else:
            path.unlink()


def _is_verified(mirror: Mirror, pointer: Pointer) -> bool:
    try:
        status = object_path(mirror, pointer.oid).stat()
    except OSError:
        return False
    return status.st_mode & 0o777 == VERIFIED and status.st_size == pointer.size


def _arrived(mirror: Mirror, oids: Iterable[str]) -> int:
    """Bytes of the objects that are here, finished or not."""
    unfinished = mirror.path / "lfs" / "incomplete"
    return sum(_size(path) for oid in oids for path in (object_path(mirror, oid), unfinished / f"{oid}.part"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _stalled(after_s: float) -> LfsFailed:
    return LfsFailed(
        f"Nothing of the large files has arrived for {after_s:.0f} s.",
        hint="The server may be down, or wait for a login: hf auth login. Start it again: it goes on where it stopped.",
    )


def _failure(left: dict[str, Pointer], wanted: Sequence[Pointer], lines: tuple[str, ...]) -> CheckoutError:
    text = "\n".join(lines)
    if re.search(room.FULL, text, re.IGNORECASE):
        return room.full(lines)
    if "is not a git command" in text:
        hint = "Type: sudo apt-get install git-lfs"
        return LfsFailed("This Space has large files, and git-lfs, which fetches them, is not installed.", hint=hint)
    paths = sorted({pointer.path for pointer in wanted if pointer.oid in left})
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    names = f"{', '.join(paths[:_NAMED])}{more}"
    return LfsFailed(f"Large files did not arrive whole: {names}.", hint=_hint(text), lines=lines)


def _hint(text: str) -> str:
    if re.search(r"\b404\b|does not exist", text):
        return "They are not on the server: the author never pushed them, or removed them."
    if re.search(r"\b40[13]\b|Authentication|credential", text, re.IGNORECASE):
        return "The server wants a login for them. Use a Hub token that may read this Space: hf auth login"
    if re.search(r"\b429\b|rate limit", text, re.IGNORECASE):
        return "The server is asked too often from this address. Wait five minutes and start it again."
    return "Start it again: it goes on where it stopped."
