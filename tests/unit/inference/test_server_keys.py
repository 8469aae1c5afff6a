"""Keys: what a file of them may look like, and what its changes do."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from app.inference.errors import KeysUnreadable
from app.inference.server import AnyOf, Caller, KeyFile, OneKey
from spaces_runner.core import keys as written
from spaces_runner.settings import Settings


@pytest.fixture
def path(settings: Settings) -> Path:
    return written.path(settings)


def test_a_token_finds_its_caller(path: Path, settings: Settings) -> None:
    first, second = written.grant(settings, "space:owner-one"), written.issue(settings, "laptop")
    keys = KeyFile(path)
    assert keys.find(first) == Caller(name="space:owner-one")
    assert keys.find(second) == Caller(name="program:laptop")
    assert keys.find(first + "x") is None
    assert keys.find("") is None
    assert keys.find("\udcff") is None  # a header's byte that is no character


def test_the_file_holds_no_token_and_is_its_owners_alone(path: Path, settings: Settings) -> None:
    token = written.grant(settings, "page")
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert token not in repr(OneKey(token))


def test_a_revoked_key_opens_nothing_from_then_on(path: Path, settings: Settings) -> None:
    token, other = written.grant(settings, "one"), written.issue(settings, "two")
    keys = KeyFile(path)
    assert keys.find(token)
    written.revoke(settings, [token])
    assert keys.find(token) is None
    assert keys.find(other)
    written.withdraw(settings, "two")
    assert keys.find(other) is None


def test_without_a_file_there_are_no_keys(path: Path, settings: Settings) -> None:
    keys = KeyFile(path)
    assert keys.find("anything") is None
    token = written.grant(settings, "one")
    assert keys.find(token)
    path.unlink()
    assert keys.find(token) is None


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_that_others_reach_is_not_believed(path: Path, settings: Settings, mode: int) -> None:
    token = written.grant(settings, "one")
    keys = KeyFile(path)
    assert keys.find(token)
    path.chmod(mode)
    with pytest.raises(KeysUnreadable, match="Others may read or write") as caught:
        keys.find(token)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"keys": [{"name": "a"}]}',
        '{"keys": [{"name": "a", "sha256": "00"}]}',
        json.dumps({"keys": [{"name": "", "sha256": "0" * 64}]}),
        json.dumps({"keys": [{"name": "a", "sha256": "0" * 64, "manage": True}]}),
        json.dumps({"keys": [], "more": 1}),
    ],
)
def test_a_file_that_holds_something_else(path: Path, settings: Settings, content: str) -> None:
    written.grant(settings, "one")
    path.write_text(content)
    with pytest.raises(KeysUnreadable, match=r"keys\.json holds no keys"):
        KeyFile(path).find("token")


def test_a_directory_is_no_file(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    with pytest.raises(KeysUnreadable, match="cannot be read"):
        KeyFile(path).find("token")


def test_many_hands_at_one_file(path: Path, settings: Settings) -> None:
    tokens: list[str] = []
    threads = [
        threading.Thread(target=lambda name=f"caller {number}": tokens.append(written.grant(settings, name)))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    keys = KeyFile(path)
    assert all(keys.find(token) for token in tokens)
    assert len(tokens) == 12
    assert list(path.parent.glob("*partial*")) == []


def test_several_sets_are_one(path: Path, settings: Settings) -> None:
    token = written.grant(settings, "space")
    keys = AnyOf((OneKey("the owner's"), KeyFile(path)))
    assert keys.find("the owner's") == Caller(name="owner", may_manage=True, may_name_clients=True)
    assert keys.find(token) == Caller(name="space")
    assert keys.find("neither") is None
