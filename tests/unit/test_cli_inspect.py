"""What an inspection says of a Space's files."""

from __future__ import annotations

from dataclasses import replace

from spaces_runner.cli import inspect
from spaces_runner.types import (
    Inspection,
    Patch,
    RefKind,
    Resolution,
    ResolvedHow,
    Sdk,
    Snapshot,
    SpaceFile,
    SpaceRef,
    SpaceSpec,
)

REF = SpaceRef(kind=RefKind.HUB, source="o/n")


def plan(*files: SpaceFile) -> Inspection:
    return Inspection(
        checkout=Snapshot(
            ref=REF,
            commit="0" * 40,
            size_bytes=sum(file.size_bytes for file in files),
            lfs_bytes=sum(file.size_bytes for file in files if file.lfs),
        ),
        files=files,
        spec=SpaceSpec(sdk=Sdk.GRADIO),
        resolution=Resolution(python="/p", python_version="3.11.1", how=ResolvedHow.JOINT, packages=(), lock=""),
        environment_ready=True,
        patch=Patch(),
    )


def test_small_files_are_counted() -> None:
    shown = list(inspect.files(plan(SpaceFile(path="a.py", size_bytes=400), SpaceFile(path="b", size_bytes=999_999))))
    assert shown == [("files", "2 files, 1.0 MB")]


def test_large_files_are_named_the_largest_first() -> None:
    files = (
        SpaceFile(path="app.py", size_bytes=500),
        SpaceFile(path="font.ttf", size_bytes=1_500_000),
        SpaceFile(path="m.bin", size_bytes=4_000_000_000, lfs=True),
        SpaceFile(path="tiny.png", size_bytes=20_000, lfs=True),
    )
    (_, first), *rest = inspect.files(plan(*files))
    assert first == "4 files, 4.0 GB; 2 by Git LFS, 4.0 GB, which a launch fetches"
    assert [line.split() for _, line in rest] == [
        ["4.0", "GB", "m.bin", "(LFS)"],
        ["1.5", "MB", "font.ttf"],
        ["20.0", "kB", "tiny.png", "(LFS)"],
    ]


def test_many_large_files_are_summed_up() -> None:
    files = [SpaceFile(path=f"{number}.bin", size_bytes=2_000_000, lfs=True) for number in range(13)]
    *_, (_, last) = inspect.files(plan(*files))
    assert last.split() == ["6.0", "MB", "in", "3", "more"]


def test_a_command_that_builds_the_site_is_told() -> None:
    site = replace(plan(), spec=SpaceSpec(sdk=Sdk.STATIC, app_file="dist/index.html", build_command="npm run build"))
    assert ("built by", "npm run build") in list(inspect.facts(site))
    assert "built by" not in dict(inspect.facts(plan()))
