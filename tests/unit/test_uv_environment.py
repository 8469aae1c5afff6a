"""What uv is told of the machine: how the network is reached, where Pythons come from, nothing else of the owner's."""

from __future__ import annotations

from pathlib import Path

import pytest

from spaces_runner.environment.uv import Room, environment
from spaces_runner.settings import Settings, read_settings
from spaces_runner.types import User

OPEN, CLOSED = "http://proxy.example:3128", "http://me:secret@proxy.example:3128"


def room(folder: Path, user: User | None = None) -> Room:
    return Room(cache=folder, home=folder, tmp=folder, user=user)


def test_proxies_are_handed_on_but_a_password_is_not_given_to_what_a_space_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", CLOSED)
    monkeypatch.setenv("HTTP_PROXY", OPEN)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    settings = Settings(home=str(tmp_path))
    ours, theirs = environment(settings, room(tmp_path)), environment(settings, room(tmp_path, User(uid=1, gid=1)))
    assert (ours["HTTPS_PROXY"], ours["HTTP_PROXY"]) == (CLOSED, OPEN)
    assert "HTTPS_PROXY" not in theirs
    assert theirs["HTTP_PROXY"] == OPEN
    assert not any("hf_secret" in value for value in (*ours.values(), *theirs.values()))


def test_where_pythons_come_from_is_the_owners_choice(tmp_path: Path) -> None:
    said = {
        "SPACES_RUNNER_HOME": str(tmp_path),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PYTHON_INSTALL_MIRROR": "https://mirror.example",
        "UV_PYTHON_DOWNLOADS_JSON_URL": "https://mirror.example/list.json",
    }
    settings = read_settings(said)
    assert settings.python_downloads is False
    assert read_settings({"SPACES_RUNNER_HOME": str(tmp_path)}).python_downloads
    env = environment(settings, room(tmp_path))
    assert env["UV_PYTHON_INSTALL_MIRROR"] == "https://mirror.example"
    assert env["UV_PYTHON_DOWNLOADS_JSON_URL"] == "https://mirror.example/list.json"
