"""What is pruned, and what is left because somebody uses it. That Spaces keep what is theirs: test_control."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from spaces_runner.checkout.mirror import Mirror
from spaces_runner.pruning import INSPECTION_S, prune
from spaces_runner.settings import ENVIRONMENT_MARK, Settings
from spaces_runner.store import Store
from spaces_runner.types import RefKind, SpaceRef

REF = SpaceRef(kind=RefKind.HUB, source="tmp-owner/name")  # a name that looks like what is unfinished


def pruned(settings: Settings, kind: str, *, dry_run: bool = False) -> list[str]:
    return prune(Store(settings), settings, dry_run=dry_run, cache=False)[kind]


@pytest.mark.parametrize("unfinished", [False, True], ids=["laid-out", "fetched-first"])
def test_a_mirror_that_a_launch_or_an_inspection_uses_stays(settings: Settings, unfinished: bool) -> None:
    with Mirror(settings, REF) as mirror:
        path = mirror.path.with_name(f".tmp-{mirror.path.name}") if unfinished else mirror.path
        path.mkdir()
        mirror.use()
        assert pruned(settings, "mirrors", dry_run=True) == pruned(settings, "mirrors") == []
        with Mirror(settings, REF) as other:
            other.use()  # and is done first
        assert pruned(settings, "mirrors") == []
        assert path.exists()
    assert pruned(settings, "mirrors", dry_run=True) == [path.name]
    assert path.exists()
    assert pruned(settings, "mirrors") == [path.name]
    assert not path.exists()


def test_an_environment_that_was_just_taken_is_not_told_as_one_to_go(settings: Settings) -> None:
    old, young, unmade = (settings.environments_dir / name for name in ("old", "young", ".half.1.part"))
    for folder in (old, young, unmade):
        folder.mkdir(parents=True)
    for folder in (old, young):
        (folder / ENVIRONMENT_MARK).touch()
    os.utime(old / ENVIRONMENT_MARK, (1, 1))
    assert pruned(settings, "environments", dry_run=True) == ["half", "old"]
    assert old.exists()
    assert pruned(settings, "environments") == ["half", "old"]
    assert (old.exists(), young.exists(), unmade.exists()) == (False, True, False)


def test_what_a_killed_inspection_left_goes_after_a_day(settings: Settings) -> None:
    at_work, left = (settings.home_dir / name for name in ("inspect-new", "inspect-old"))
    for folder in (at_work, left):
        (folder / "app").mkdir(parents=True)
    age(left, INSPECTION_S + 60)
    assert pruned(settings, "leftovers", dry_run=True) == ["inspect-old"]
    assert pruned(settings, "leftovers") == ["inspect-old"]
    assert (at_work.exists(), left.exists()) == (True, False)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))
