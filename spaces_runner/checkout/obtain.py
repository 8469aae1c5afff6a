"""SpaceRef -> Checkout: a Space's files at one commit, in a directory without `.git`. Knows not what is in them.

From the Hub or a git host by way of the runner's own mirror; from a directory by copying it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spaces_runner.checkout import lfs
from spaces_runner.checkout.directory import copy_directory
from spaces_runner.checkout.layout import lay_out, new_file, replacing, share_file
from spaces_runner.checkout.mirror import Mirror
from spaces_runner.checkout.tree import Entry, Layout, plan
from spaces_runner.errors import NetworkFailed
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, Finding, RefKind, Severity, SpaceRef, Step


def obtain(ref: SpaceRef, target: Path, settings: Settings, report: Reporter) -> Checkout:
    """The Space's files at `target`, in place of what is there; `target`'s file system should be the mirrors'.

    Raises CheckoutError. Then `target` is as it was, and nothing half-made lies beside it.
    """
    if ref.kind is RefKind.DIRECTORY:
        with report.step(Step.CLONE):
            return copy_directory(ref, target, settings.home_dir)
    if ref.kind is RefKind.SUBDOMAIN:
        from spaces_runner.checkout import hub

        ref = replace(ref, kind=RefKind.HUB, source=hub.space_at(ref.source, settings))
    with Mirror(settings, ref) as mirror:
        return _obtain(mirror, ref, target, report)


def _obtain(mirror: Mirror, ref: SpaceRef, target: Path, report: Reporter) -> Checkout:
    with report.step(Step.CLONE) as note:
        ref, sha, findings = _resolve(mirror, ref, report)
        if not mirror.has(sha):
            report.log(f"Fetching {ref} at {sha}")
        fetched = mirror.fetch(sha, ref.revision, lambda done, total: _progress(report, done, total))
        layout = plan(mirror.entries(sha), lambda entry: mirror.read(entry.blob).decode(errors="surrogateescape"))
        note.append(f"{sha[:8]}, {len(layout.files)} files{'' if fetched else ', as it stood'}")
    with report.step(Step.LFS) as note:
        pointers = {pointer.path: pointer for pointer in lfs.pointers(mirror, layout.files)}
        brought = _fetch_lfs(mirror, sha, tuple(pointers.values()), _plain_bytes(layout, pointers), report)
        note.append(f"{len(pointers)} files, {brought / 1e6:.1f} MB fetched" if pointers else "none")
        _export(mirror, layout, pointers, target)
    lfs_bytes = sum(pointer.size for pointer in pointers.values())
    return Checkout(
        ref=ref,
        commit=sha,
        path=str(target),
        committed_at=mirror.committed_at(sha),
        size_bytes=_plain_bytes(layout, pointers) + lfs_bytes,
        lfs_bytes=lfs_bytes,
        findings=(*findings, *layout.findings),
    )


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
    return replace(ref, revision=revision, tail=""), sha, findings


def _progress(report: Reporter, done: int, total: int | None) -> None:
    report.progress(Step.CLONE, done, total, "objects")


def _plain_bytes(layout: Layout, pointers: dict[str, lfs.Pointer]) -> int:
    return sum(entry.size for entry in layout.files if entry.path not in pointers)


def _fetch_lfs(mirror: Mirror, sha: str, pointers: tuple[lfs.Pointer, ...], plain_bytes: int, report: Reporter) -> int:
    """Have the objects in the mirror. Everything that will be written is compared with the free disk before."""
    absent = sum(pointer.size for pointer in lfs.missing(mirror, pointers).values())
    lfs.require_space(absent + plain_bytes, mirror.settings)
    if not absent:
        return 0
    report.log(f"Fetching {len(pointers)} large files, {absent / 1e6:.1f} MB")
    with mirror.locked():
        brought = lfs.fetch(mirror, sha, pointers, lambda done, total: report.progress(Step.LFS, done, total, "bytes"))
    report.progress(Step.LFS, len(pointers), len(pointers), "objects")
    return brought


def _export(mirror: Mirror, layout: Layout, pointers: dict[str, lfs.Pointer], target: Path) -> None:
    """Lay the files out. LFS objects are shared with the mirror where no Space can change them through that."""

    def write(entry: Entry, path: Path) -> None:
        pointer = pointers.get(entry.path)
        if pointer and pointer.size:
            share_file(lfs.object_path(mirror, pointer.oid), path, entry.is_executable)
            return
        with new_file(path, entry.is_executable) as file:
            if not pointer:
                mirror.copy(entry.blob, file)

    with replacing(target) as root:
        lay_out(layout, root, write)
