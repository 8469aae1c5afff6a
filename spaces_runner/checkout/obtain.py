"""SpaceRef -> Checkout: a Space's files at one commit, in a directory without `.git`. Knows not what is in them.

From the Hub or a git host by way of the runner's own mirror; from a directory by copying it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from spaces_runner.checkout import lfs, room, subfolder
from spaces_runner.checkout.directory import copy_directory
from spaces_runner.checkout.layout import lay_out, new_file, replacing, share_file
from spaces_runner.checkout.mirror import Mirror
from spaces_runner.checkout.tree import Entry, Layout, plan
from spaces_runner.errors import NetworkFailed
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, Finding, RefKind, Severity, SpaceFile, SpaceRef, Step

Pointers = dict[str, lfs.Pointer]  # by path
Choice = Callable[[lfs.Pointer], bool]  # whether its object is to be fetched


def obtain(ref: SpaceRef, target: Path, settings: Settings, report: Reporter) -> Checkout:
    """The Space's files at `target`, in place of what is there; `target`'s file system should be the mirrors'.

    Raises CheckoutError. Then `target` is as it was, and nothing half-made lies beside it.
    """
    return _checkout(ref, target, settings, report, lambda _: True)


def look(ref: SpaceRef, target: Path, settings: Settings, report: Reporter) -> Checkout:
    """`obtain`, but for large files (LFS objects): the result names them with their sizes, and they are empty files.

    Only those are fetched that say how the Space is built: source and requirements that are small, and wheels.
    """
    return _checkout(ref, target, settings, report, lfs.says_how_it_is_built)


def _checkout(ref: SpaceRef, target: Path, settings: Settings, report: Reporter, chosen: Choice) -> Checkout:
    if ref.kind is RefKind.DIRECTORY:
        with report.step(Step.CLONE):
            return copy_directory(ref, target, settings.home_dir)
    if ref.kind is RefKind.SUBDOMAIN:
        from spaces_runner.checkout import hub

        ref = replace(ref, kind=RefKind.HUB, source=hub.space_at(ref.source, settings))
    with Mirror(settings, ref) as mirror:
        return _obtain(mirror, ref, target, report, chosen)


def _obtain(mirror: Mirror, ref: SpaceRef, target: Path, report: Reporter, chosen: Choice) -> Checkout:
    with report.step(Step.CLONE) as note:
        ref, sha, findings = _resolve(mirror, ref, report)
        if not mirror.has(sha):
            report.log(f"Fetching {ref} at {sha}")
        fetched = mirror.fetch(sha, ref.revision, lambda done, total: _progress(report, done, total))
        ref, entries, more = _space(mirror, ref, sha)
        layout = plan(entries, lambda entry: mirror.read(entry.blob).decode(errors="surrogateescape"))
        note.append(f"{sha[:8]}, {len(layout.files)} files{'' if fetched else ', as it stood'}")
    with report.step(Step.LFS) as note:
        pointers = {pointer.path: pointer for pointer in lfs.pointers(mirror, layout.files)}
        wanted = {path: pointer for path, pointer in pointers.items() if chosen(pointer)}
        _require_room(mirror, layout, pointers, wanted, target)
        everything = len(wanted) == len(pointers) and not ref.folder
        brought = _fetch_lfs(mirror, sha, _named(wanted, ref.folder), report, everything=everything)
        note.append(f"{len(pointers)} files, {brought / 1e6:.1f} MB fetched" if pointers else "none")
        _export(mirror, layout, pointers, wanted, target)
    lfs_bytes = sum(pointer.size for pointer in pointers.values())
    return Checkout(
        ref=ref,
        commit=sha,
        path=str(target),
        committed_at=mirror.committed_at(sha),
        size_bytes=_plain_bytes(layout, pointers) + lfs_bytes,
        lfs_bytes=lfs_bytes,
        files=tuple(_file(entry, pointers.get(entry.path)) for entry in layout.files),
        findings=(*findings, *more, *layout.findings),
    )


def _space(mirror: Mirror, ref: SpaceRef, sha: str) -> tuple[SpaceRef, list[Entry], tuple[Finding, ...]]:
    """The reference with the folder that is the Space, and that folder's entries. On the Hub it is the whole tree."""
    entries = mirror.entries(sha)
    if ref.kind is RefKind.HUB:
        return ref, entries, ()
    folder = ref.folder or subfolder.choose(entries, lambda entry: mirror.read(entry.blob))
    more = subfolder.findings(folder, asked=ref.folder)
    return replace(ref, folder=folder), subfolder.inside(entries, folder), more


def _named(pointers: Pointers, folder: str) -> Pointers:
    """Pointers by their paths in the repository, where git-lfs looks for them."""
    if not folder:
        return pointers
    return {path: replace(pointer, path=f"{folder}/{pointer.path}") for path, pointer in pointers.items()}


def _resolve(mirror: Mirror, ref: SpaceRef, report: Reporter) -> tuple[SpaceRef, str, tuple[Finding, ...]]:
    """The reference without a doubt, and its commit; the last one known, with a finding, where the origin is away."""
    findings: tuple[Finding, ...] = ()
    try:
        revision, sha = mirror.resolve(ref.revisions)
    except NetworkFailed as error:
        seen = [(name, last) for name in ref.revisions if (last := mirror.last_seen(name))]
        if not seen:
            raise
        revision, sha = seen[0]
        report.log(error.message)
        message = f"The origin is out of reach, so this is the commit it had last: {sha[:8]}."
        findings = (Finding(code="origin-out-of-reach", severity=Severity.WARNING, message=message),)
    return replace(ref, revision=revision, tail="", folder=_folder(ref, revision)), sha, findings


def _folder(ref: SpaceRef, revision: str | None) -> str:
    """What a git host's page names below the revision. The Hub's pages name files of a Space, which is all of it."""
    if ref.kind is not RefKind.GIT:
        return ""
    return f"{ref.revision}/{ref.tail}".removeprefix(str(revision)).strip("/") if ref.tail else ref.folder


def _progress(report: Reporter, done: int, total: int | None) -> None:
    report.progress(Step.CLONE, done, total, "objects")


def _plain_bytes(layout: Layout, pointers: Pointers) -> int:
    return sum(entry.size for entry in layout.files if entry.path not in pointers)


def _require_room(mirror: Mirror, layout: Layout, pointers: Pointers, wanted: Pointers, target: Path) -> None:
    """Compare all that will be written with what is free, before anything large is fetched. Raises DiskTooSmall.

    What stands at `target` goes only when the new files are there, so its room does not count.
    """
    folder = target.parent
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    large = [(wanted[entry.path].size, entry.is_executable) for entry in layout.files if entry.path in wanted]
    copied = 0
    if large:
        how = room.sharing(mirror.path, folder)
        copied = sum(size for size, is_executable in large if how.copies(is_executable))
    written = _plain_bytes(layout, pointers) + copied
    room.require({mirror.path: lfs.unwritten_bytes(mirror, wanted.values()), folder: written}, mirror.settings)


def _file(entry: Entry, pointer: lfs.Pointer | None) -> SpaceFile:
    size = pointer.size if pointer else entry.size
    return SpaceFile(path=entry.path, size_bytes=size, lfs=pointer is not None)


def _fetch_lfs(mirror: Mirror, sha: str, wanted: Pointers, report: Reporter, *, everything: bool) -> int:
    """Have the objects in the mirror. Returns the bytes that were fetched."""
    pointers = tuple(wanted.values())
    absent = lfs.absent_bytes(mirror, pointers)
    if not absent:
        return 0
    report.log(f"Fetching {len(pointers)} large files, {absent / 1e6:.1f} MB")

    def progress(done: int, total: int) -> None:
        report.progress(Step.LFS, done, total, "bytes")

    with mirror.locked():
        brought = lfs.fetch(mirror, sha, pointers, progress, everything=everything)
    report.progress(Step.LFS, len(pointers), len(pointers), "objects")
    return brought


def _export(mirror: Mirror, layout: Layout, pointers: Pointers, here: Pointers, target: Path) -> None:
    """Lay the files out. LFS objects are shared with the mirror where no Space can change them through that.

    Those that are not among the ones `here` are empty.
    """

    def write(entry: Entry, path: Path) -> None:
        pointer = pointers.get(entry.path)
        if pointer and pointer.size and entry.path in here:
            share_file(lfs.object_path(mirror, pointer.oid), path, entry.is_executable)
            return
        with new_file(path, entry.is_executable) as file:
            if not pointer:
                mirror.copy(entry.blob, file)

    with replacing(target) as root:
        lay_out(layout, root, write)
