"""Which files of a foreign tree may be laid out, and where. Pure: knows names, modes and link targets, no disk."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from spaces_runner.errors import UnsafeTree
from spaces_runner.types import Finding, Severity

GITLINK = 0o160000  # git's mode of a submodule
_MOST_HOPS = 40  # as many links as Linux follows in one path
_DEEPEST = 100  # folders in each other: what walks or removes a tree may go down a step of its own for each
_LONGEST = 1024  # bytes of a path; Linux takes 4,096 with what stands before it
_MOST_STEPS = 500  # in one path, those of the links it passes included
_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a tree. `path` is relative, with `/`; bytes that are no UTF-8 are surrogates in it."""

    path: str
    mode: int  # as git has it: 0o100644, 0o100755, 0o120000 a link, 0o160000 a submodule
    blob: str = ""  # the object's hash; "" in a directory
    size: int = 0  # bytes

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_executable(self) -> bool:
        return bool(self.mode & 0o100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What is laid out: files, then links (path -> target), and empty directories where submodules were."""

    files: tuple[Entry, ...]
    links: Mapping[str, str]
    directories: tuple[str, ...]
    findings: tuple[Finding, ...]


def plan(entries: Sequence[Entry], target_of: Callable[[Entry], str]) -> Layout:
    """What of a tree is laid out. `target_of` reads a link.

    Links stay only where they are relative and lead to a place inside, whatever other links they pass.
    Raises UnsafeTree for names that no honest tree has.
    """
    known = [entry for entry in entries if not _is_garbled(entry.path)]
    refuse_unsafe_names(known)
    targets = {entry.path: target_of(entry) for entry in known if entry.is_link}
    links = {path: target for path, target in targets.items() if _stays_inside(path, targets)}
    submodules = tuple(entry.path for entry in known if entry.mode == GITLINK)
    return Layout(
        files=tuple(entry for entry in known if entry.is_file),
        links=links,
        directories=submodules,
        findings=(
            *_left_out_links(sorted(targets.keys() - links.keys())),
            *_left_out_submodules(submodules),
            *_left_out_names([entry.path for entry in entries if _is_garbled(entry.path)]),
        ),
    )


def refuse_unsafe_names(entries: Iterable[Entry]) -> None:
    """Raises UnsafeTree for names that leave the tree, pose as a repository, or hide what they are."""
    bad = [entry.path for entry in entries if _is_endless(entry.path) or any(map(_is_unsafe, entry.path.split("/")))]
    if bad:
        raise UnsafeTree(
            f"It holds {len(bad)} file name(s) that no honest repository has.",
            hint="Do not run it: such names are made to write where they should not.",
            lines=tuple(ascii(path[:_LONGEST]) for path in bad[:_SHOWN]),
        )


def _is_endless(path: str) -> bool:
    return path.count("/") > _DEEPEST or len(path.encode()) > _LONGEST


def _is_unsafe(name: str) -> bool:
    folded = name.casefold().rstrip(" .")
    hidden = any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in name)
    return name in ("", ".", "..") or folded in (".git", "git~1") or hidden or len(name.encode()) > 255


def _is_garbled(path: str) -> bool:
    """Whether the name is no UTF-8: nothing that prints or stores it would take it."""
    return any(0xD800 <= ord(letter) < 0xE000 for letter in path)


def _stays_inside(path: str, targets: Mapping[str, str]) -> bool:
    """Whether following the link `path` never leaves the tree. `targets` are all links of the tree."""
    place: list[str] = path.split("/")[:-1]
    pending = _parts(targets[path])
    hops, steps = 1, 0
    if pending is None:
        return False
    while pending:
        steps += 1
        if steps + len(pending) > _MOST_STEPS:
            return False
        part = pending.pop(0)
        if part == "..":
            if not place:
                return False
            place.pop()
            continue
        place.append(part)
        target = targets.get("/".join(place))
        if target is not None:
            inner = _parts(target)
            hops += 1
            if inner is None or hops > _MOST_HOPS:
                return False
            place.pop()
            pending = inner + pending
    return True


def _parts(target: str) -> list[str] | None:
    """The parts of a relative target; None for one that cannot be followed here."""
    if not target or target.startswith("/") or "\0" in target or _is_garbled(target) or len(target) > 4095:
        return None
    return [part for part in target.split("/") if part not in ("", ".")]


def _left_out_links(paths: list[str]) -> tuple[Finding, ...]:
    if not paths:
        return ()
    message = f"{len(paths)} symbolic link(s) lead out of the repository and were left out."
    return (Finding(code="link-left-out", severity=Severity.WARNING, message=message, lines=_shown(paths)),)


def _left_out_submodules(paths: tuple[str, ...]) -> tuple[Finding, ...]:
    if not paths:
        return ()
    message = f"{len(paths)} submodule(s) were left out: their directories are empty."
    remedy = "If the app needs them, clone it with its submodules yourself and give that directory."
    return (
        Finding(
            code="submodule-left-out",
            severity=Severity.WARNING,
            message=message,
            remedy=remedy,
            lines=_shown(paths),
        ),
    )


def _left_out_names(paths: list[str]) -> tuple[Finding, ...]:
    if not paths:
        return ()
    message = f"{len(paths)} file(s) with names that are not UTF-8 were left out."
    lines = tuple(ascii(path) for path in paths[:_SHOWN])
    return (Finding(code="name-left-out", severity=Severity.WARNING, message=message, lines=lines),)


def _shown(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(paths)[:_SHOWN]
