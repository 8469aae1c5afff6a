"""Reading the objects of a repository, with a real git."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spaces_runner.checkout import objects
from spaces_runner.checkout.objects import Objects
from spaces_runner.errors import CheckoutError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path)], check=True, timeout=30)
    return tmp_path


@pytest.fixture
def opened(repository: Path) -> Iterator[Objects]:
    found = Objects(lambda: start(repository))
    yield found
    found.close()


def start(repository: Path) -> subprocess.Popen[bytes]:
    command = ["git", "-C", str(repository), "cat-file", "--batch"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def add(repository: Path, content: bytes) -> str:
    command = ["git", "-C", str(repository), "hash-object", "-w", "--stdin"]
    return subprocess.run(command, input=content, capture_output=True, check=True, timeout=30).stdout.decode().strip()


CONTENTS = [b"", b"\n", b"one\ntwo", b"\0\xff\r\n" * 1000, b"x" * (objects.PIECE + 3)]


def test_contents_come_back_one_after_another(repository: Path, opened: Objects) -> None:
    shas = [add(repository, content) for content in CONTENTS]
    assert [opened.read(sha) for sha in shas] == CONTENTS
    for sha, content in zip(shas, CONTENTS, strict=True):
        target = io.BytesIO()
        opened.copy(sha, target)
        assert target.getvalue() == content


def test_an_object_that_is_not_here_is_an_error_and_the_next_one_is_read(repository: Path, opened: Objects) -> None:
    sha = add(repository, b"here")
    with pytest.raises(CheckoutError, match="could not read"):
        opened.read("0" * 40)
    assert opened.read(sha) == b"here"


def test_a_command_that_dies_is_an_error(repository: Path) -> None:
    found = Objects(lambda: start(repository / "nowhere"))
    with pytest.raises(CheckoutError, match="could not read"):
        found.read("0" * 40)
    found.close()


def test_it_can_be_closed_twice_and_asked_again(repository: Path, opened: Objects) -> None:
    sha = add(repository, b"here")
    assert opened.read(sha) == b"here"
    opened.close()
    opened.close()
    assert opened.read(sha) == b"here"
