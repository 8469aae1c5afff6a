"""What is kept, and what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner.errors import BadOption
from spaces_runner.notebook.host import GB, Host
from spaces_runner.notebook.rooms import FOLDER, arrange
from spaces_runner.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path / "home"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for name in ("storage", "notebooks"):
        (tmp_path / name).mkdir()
    return Host(
        platform="Gradient", shared=tmp_path / "storage", own=tmp_path / "notebooks", storage_bytes=5 * GB, hours=6
    )


def kept(settings: Settings) -> set[str]:
    inside = {"pythons": settings.pythons_dir, "packages": settings.uv_cache_dir, "models": settings.models_dir}
    return {name for name, path in inside.items() if path.is_symlink() and path.is_dir()}


@pytest.mark.parametrize(
    ("storage", "free", "names"),
    [
        (None, 1000 * GB, {"pythons"}),  # a network disk shows much more than the plan allows
        (12 * GB, 1000 * GB, {"pythons", "packages"}),
        (200 * GB, 1000 * GB, {"pythons", "packages", "models"}),
        (200 * GB, 15 * GB, {"pythons", "packages"}),
        (200 * GB, 0, set()),
        (0, 1000 * GB, set()),
    ],
)
def test_what_has_room_is_kept(home: Settings, host: Host, storage: int | None, free: int, names: set[str]) -> None:
    lines = " ".join(arrange(host, home, storage, lambda _: free))
    assert kept(home) == names
    assert ("Not kept" in lines) == (len(names) < 3)
    assert ("Kept in" in lines) == bool(names)


def test_neither_secrets_nor_the_database_are_led_away(home: Settings, host: Host) -> None:
    arrange(host, home, 200 * GB, lambda _: 1000 * GB)
    for path in (home.database, home.secrets_dir, home.spaces_dir, home.mirrors_dir):
        assert not path.resolve().is_relative_to(host.shared or "")


def test_a_second_time_changes_nothing_and_a_cache_that_stands_stays(home: Settings, host: Host) -> None:
    home.uv_cache_dir.mkdir(parents=True)
    lines = [arrange(host, home, 200 * GB, lambda _: 1000 * GB) for _ in range(2)]
    assert lines[0] == lines[1] == (f"Kept in {host.shared}/{FOLDER}: Pythons, Spaces' models, chat models.",)
    assert not home.uv_cache_dir.is_symlink()


def test_elsewhere_nothing_is_moved(home: Settings) -> None:
    assert arrange(Host(), home, None) == ()
    assert kept(home) == set()


def test_a_disk_that_cannot_be_written_is_said(home: Settings, host: Host, tmp_path: Path) -> None:
    broken = replace(host, shared=tmp_path / "file")
    (tmp_path / "file").write_text("")
    (line,) = arrange(broken, home, 200 * GB, lambda _: 1000 * GB)
    assert line == f"Nothing can be kept in {tmp_path}/file: Not a directory. Caches end with this machine."


def test_a_state_directory_on_the_teams_disk_is_refused(host: Host) -> None:
    with pytest.raises(BadOption, match="a network disk that others may read"):
        arrange(host, Settings(home=f"{host.shared}/mine"), None)
