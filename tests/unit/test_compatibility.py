"""docs/compatibility.md is what the corpus says, and a reader finds both outcomes of every topic."""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.cases import STANDARD_GRADIO, collect

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = SourceFileLoader("generate_docs", str(ROOT / "scripts/generate-docs"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_cases(script: ModuleType) -> None:
    written = (ROOT / "docs/compatibility.md").read_text()
    assert written == script.compatibility(), "Run scripts/generate-docs."
    for case in collect():
        assert written.count(f"[{case.name}](../tests/spaces/{case.name})") == 1
    assert script.STANDARD_GRADIO == STANDARD_GRADIO


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("fail-docker-no-engine", "Docker Spaces"),
        ("streamlit-own-port", "Streamlit Spaces"),
        ("static-with-build", "Static Spaces"),
        ("gradio-4-first", "Gradio of every age"),
        ("launch-fixed-port-6006", "Addresses and servers"),
        ("fail-port-outside", "Addresses and servers"),
        ("launch-by-star-import", "How the app is launched"),
        ("habit-hub-folders", "Folders, variables and signing in"),
        ("fail-unresolvable", "Packages and Pythons"),
    ],
)
def test_a_new_case_finds_its_topic(script: ModuleType, name: str, title: str) -> None:
    assert script.topic(name) == title


def test_rows_say_what_comes_of_it(script: ModuleType) -> None:
    text = '# A pipe | here,\n# and more.\n[expect]\nstage = "RUNNING"\ngradio = "3.0.1"\nfindings = ["a", "b"]\n'
    row = script.row("x", text)
    assert (
        row == "| A pipe \\| here, and more. | starts, with Gradio 3.0.1; told: `a`, `b` | [x](../tests/spaces/x) |\n"
    )
    failing = script.outcome({"stage": "BUILD_ERROR", "code": "unresolvable"})
    assert failing == "fails: BUILD_ERROR, `unresolvable`"
    with pytest.raises(SystemExit, match="begins with no comment"):
        script.row("x", "[expect]\n")
