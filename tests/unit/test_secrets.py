"""Secret values: closed files, whole or not at all, never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from spaces_runner import secrets
from spaces_runner.settings import Settings

VALUE = "hunter2-and-more"


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path))


def test_values_come_back(here: Settings) -> None:
    assert dict(secrets.read(here, "a")) == {}
    secrets.replace(here, "a", {"KEY": VALUE, "Ü": "line\nline\0"})
    secrets.add(here, "a", {"OTHER": "x"})
    assert dict(secrets.read(here, "a")) == {"KEY": VALUE, "Ü": "line\nline\0", "OTHER": "x"}
    assert dict(secrets.read(here, "b")) == {}
    secrets.remove(here, "a")
    secrets.remove(here, "a")
    assert len(secrets.read(here, "a")) == 0


def test_files_are_closed(here: Settings) -> None:
    secrets.replace(here, "a", {"KEY": VALUE})
    assert stat.S_IMODE(here.secrets_dir.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in here.secrets_dir.iterdir()] == [0o600]


def test_values_are_not_shown(here: Settings) -> None:
    secrets.replace(here, "a", {"KEY": VALUE})
    found = secrets.read(here, "a")
    assert VALUE not in repr(found)
    assert VALUE not in str(found)
    assert VALUE not in f"{found}"


def test_a_failed_change_keeps_the_old_values(here: Settings) -> None:
    secrets.replace(here, "a", {"KEY": VALUE})
    with pytest.raises(TypeError):
        secrets.replace(here, "a", {"KEY": object()})  # type: ignore[dict-item]  # what cannot be written
    assert dict(secrets.read(here, "a")) == {"KEY": VALUE}
    assert len(list(here.secrets_dir.iterdir())) == 1
