"""State directories for tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner.settings import Settings, read_settings


def open_directory(prefix: str) -> Path:
    """A new directory that every user may enter: a Space runs as one of its own, and pytest's folders are closed."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    return path


def cache_directory() -> Path:
    """What is made once for all tests of this machine."""
    path = Path(os.environ.get("SPACES_RUNNER_TEST_CACHE", Path(tempfile.gettempdir()) / "spaces-runner-test-cache"))
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def package_cache() -> Path:
    """uv's cache and the interpreters, shared by every test of a session: packages are fetched once."""
    return cache_directory()


def make_settings(home: Path, package_cache: Path) -> Settings:
    """Settings of a state directory of its own whose uv cache and interpreters are the session's."""
    (home / "uv").mkdir(mode=0o755, exist_ok=True)
    for name in ("cache", "python"):
        shared = package_cache / name
        shared.mkdir(mode=0o755, exist_ok=True)
        (home / "uv" / name).symlink_to(shared)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SPACES_RUNNER_", "HF_"))}
    found = read_settings({**environ, "SPACES_RUNNER_HOME": str(home)})
    part = os.getpid() % 400  # ports and users that no other test run on this machine has
    return replace(found, hf_token=None, port_base=20000 + part * 10, uid_base=100_000 + part * 5000)


@pytest.fixture
def settings(package_cache: Path) -> Iterator[Settings]:
    """Settings of a fresh state directory, removed afterwards."""
    home = open_directory("sr-home-")
    yield make_settings(home, package_cache)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_settings(package_cache: Path) -> Iterator[Settings]:
    """Settings of one state directory for the whole session: environments that stand are used again."""
    home = open_directory("sr-shared-")
    yield make_settings(home, package_cache)
    shutil.rmtree(home, ignore_errors=True)
