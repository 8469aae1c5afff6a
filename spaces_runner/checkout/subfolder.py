"""Which folder of a tree is the Space, where the tree holds more than one. Pure: knows names and a few readmes.

A repository of the Hub is one Space. A repository or directory from elsewhere may hold its Space in a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from spaces_runner.checkout.tree import Entry
from spaces_runner.errors import FolderNotFound
from spaces_runner.types import Finding, Severity

_DEEPEST = 3  # folders below the root in which a Space is looked for
_MOST = 200  # readmes that are read
_SHOWN = 10
_IS_ROOT = frozenset({"app.py", "index.html", "Dockerfile"})  # what a Space without a readme is known by
_README_BYTES = 64 * 1024  # of one: its front matter is at its beginning
_SDK = re.compile(rb"sdk[ \t]*:")

Read = Callable[[Entry], bytes]


def choose(entries: Sequence[Entry], read: Read) -> str:
    """The folder that is the Space: "" for the tree itself.

    It is another only where the tree itself is no Space and one folder alone says that it is one. Raises FolderNotFound
    where several do, and the tree has no program that could be meant instead.
    """
    if any(entry.path in _IS_ROOT for entry in entries):
        return ""
    readmes = [entry for entry in entries if entry.is_file and _folder_of_readme(entry) is not None]
    folders = sorted({_folder_of_readme(entry) or "" for entry in readmes[:_MOST] if is_space(read(entry))})
    if not folders or "" in folders:
        return ""
    if len(folders) == 1:
        return folders[0]
    if any("/" not in entry.path and entry.path.endswith(".py") for entry in entries):
        return ""
    raise FolderNotFound(
        f"This is no Space, but {len(folders)} of its folders are.",
        hint=f"Name one of them: …/tree/main/{folders[0]} for a git address, ./…/{folders[0]} for a directory.",
        lines=tuple(f"there is: {folder!a}" for folder in folders[:_SHOWN]),
    )


def inside(entries: Iterable[Entry], folder: str) -> list[Entry]:
    """The entries of one folder, named as seen from it. Raises FolderNotFound where it has none."""
    prefix = f"{folder}/" if folder else ""
    found = [replace(entry, path=entry.path.removeprefix(prefix)) for entry in entries if entry.path.startswith(prefix)]
    if folder and not found:
        hint = "Check its name, and that it is in this branch: names of folders tell capital letters apart."
        raise FolderNotFound(f"There is no folder {folder!a} in this repository.", hint=hint)
    return found


def is_space(readme: bytes) -> bool:
    """Whether a README.md has front matter that says what kind of Space it is."""
    first, *lines = readme[:_README_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().splitlines() or [b""]
    ends = next((number for number, line in enumerate(lines) if line.rstrip() == b"---"), 0)
    return first.rstrip() == b"---" and any(map(_SDK.match, lines[:ends]))


def findings(folder: str, *, asked: str) -> tuple[Finding, ...]:
    """What to say of a folder that nobody asked for."""
    if folder == asked:
        return ()
    message = f"The Space is the folder {folder!a}; nothing else of the repository is laid out."
    return (Finding(code="space-in-folder", severity=Severity.INFO, message=message),)


def _folder_of_readme(entry: Entry) -> str | None:
    """Where a README.md lies; None for another file, or one too deep."""
    folder, _, name = entry.path.rpartition("/")
    return folder if name.lower() == "readme.md" and len(folder.split("/")) <= _DEEPEST else None
