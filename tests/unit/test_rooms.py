"""Secrets as a file in a Space's home, which the Space may have prepared."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from spaces_runner.errors import LaunchError
from spaces_runner.shim.rooms import leave_secrets

NAME = ".streamlit/secrets.toml"


def test_secrets_are_toml_for_the_space_alone_and_go_when_there_are_none(tmp_path: Path) -> None:
    secrets = {"KEY": 'a"b\\c\n\x7fä🦀', "OTHER": ""}
    leave_secrets(tmp_path, NAME, secrets, None)
    path = tmp_path / NAME
    assert tomllib.loads(path.read_text("utf-8")) == secrets
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    leave_secrets(tmp_path, NAME, {}, None)
    assert not path.exists()


def test_no_link_of_the_space_is_followed(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (home / ".streamlit").mkdir(parents=True)
    elsewhere.write_text("kept")
    (home / NAME).symlink_to(elsewhere)
    leave_secrets(home, NAME, {"KEY": "x"}, None)
    assert elsewhere.read_text() == "kept"
    other = tmp_path / "other"
    other.mkdir()
    (other / ".streamlit").symlink_to(tmp_path)
    with pytest.raises(LaunchError):
        leave_secrets(other, NAME, {"KEY": "x"}, None)
    assert not (tmp_path / "secrets.toml").exists()
