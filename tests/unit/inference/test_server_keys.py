"""Keys: what a file of them may look like, and what its changes do."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from app.inference.errors import KeysUnreadable
from app.inference.server import AnyOf, Caller, KeyFile, OneKey, issue, revoke


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "core" / "keys.json"


def test_a_token_finds_its_caller(path: Path) -> None:
    page = Caller(name="page", may_manage=True, may_name_clients=True)
    first, second = issue(path, page), issue(path, Caller(name="space:owner-one"))
    keys = KeyFile(path)
    assert keys.find(first) == page
    assert keys.find(second) == Caller(name="space:owner-one")
    assert keys.find(first + "x") is None
    assert keys.find("") is None
    assert keys.find("\udcff") is None  # a header's byte that is no character


def test_the_file_holds_no_token_and_is_its_owners_alone(path: Path) -> None:
    token = issue(path, Caller(name="page"))
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert token not in repr(OneKey(token))


def test_a_revoked_key_opens_nothing_from_then_on(path: Path) -> None:
    token, other = issue(path, Caller(name="one")), issue(path, Caller(name="two"))
    keys = KeyFile(path)
    assert keys.find(token)
    assert revoke(path, "one") is True
    assert keys.find(token) is None
    assert keys.find(other)
    assert revoke(path, "one") is False


def test_a_new_token_takes_the_place_of_the_callers_old_one(path: Path) -> None:
    old, new = issue(path, Caller(name="one")), issue(path, Caller(name="one", may_manage=True))
    keys = KeyFile(path)
    assert keys.find(old) is None
    assert keys.find(new) == Caller(name="one", may_manage=True)


def test_without_a_file_there_are_no_keys(path: Path) -> None:
    keys = KeyFile(path)
    assert keys.find("anything") is None
    token = issue(path, Caller(name="one"))
    assert keys.find(token)
    path.unlink()
    assert keys.find(token) is None


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_that_others_reach_is_not_believed(path: Path, mode: int) -> None:
    token = issue(path, Caller(name="one"))
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
        json.dumps({"keys": [{"name": "a", "sha256": "0" * 64, "manage": "yes"}]}),
        json.dumps({"keys": [], "more": 1}),
    ],
)
def test_a_file_that_holds_something_else(path: Path, content: str) -> None:
    issue(path, Caller(name="one"))
    path.write_text(content)
    with pytest.raises(KeysUnreadable, match=r"keys\.json holds no keys"):
        KeyFile(path).find("token")


def test_a_directory_is_no_file(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    with pytest.raises(KeysUnreadable, match="cannot be read"):
        KeyFile(path).find("token")


def test_many_hands_at_one_file(path: Path) -> None:
    tokens: list[str] = []
    threads = [
        threading.Thread(target=lambda name=f"caller {number}": tokens.append(issue(path, Caller(name=name))))
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


def test_several_sets_are_one(path: Path) -> None:
    token = issue(path, Caller(name="space"))
    keys = AnyOf((OneKey("the owner's"), KeyFile(path)))
    assert keys.find("the owner's") == Caller(name="owner", may_manage=True, may_name_clients=True)
    assert keys.find(token) == Caller(name="space")
    assert keys.find("neither") is None
