"""How often each fault is injected: once, or ten times with --soak. The seeds are the same in every run."""

from __future__ import annotations

from pathlib import Path

import pytest

SOAK = 10


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="inject each fault ten times, with ten seeds")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(SOAK if metafunc.config.getoption("soak", False) else 1))


@pytest.fixture(scope="session")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the worlds of a session keep what the first has found out about this machine's sandbox."""
    return tmp_path_factory.mktemp("examined") / "sandbox.json"
