"""Options that stay what was typed, and what they spare the command line."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from spaces_runner.cli.verb import Verb, Verbs
from spaces_runner.settings import Settings


def take(
    word: str,
    words: Annotated[list[str] | None, typer.Argument()] = None,
    option: Annotated[list[str] | None, typer.Option("--option")] = None,
    flag: Annotated[bool, typer.Option("--flag/--no-flag")] = True,
    count: Annotated[int, typer.Option("--count")] = 3,
) -> None:
    print([word, words, option, flag, count])


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(cls=Verbs, rich_markup_mode=None)
    made.command("take", cls=Verb)(take)
    made.command("other", cls=Verb)(lambda: None)
    return made


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        (["1"], ["1", None, None, True, 3]),
        (["true", "1", " 2 ", "--no-flag"], ["true", ["1", " 2 "], None, False, 3]),
        (["", "--option", "A=1", "--option", "", "--count", "7"], ["", None, ["A=1", ""], True, 7]),
    ],
)
def test_text_and_flags_arrive_as_they_are(app: typer.Typer, typed: list[str], taken: list[object]) -> None:
    done = CliRunner().invoke(app, ["take", *typed], catch_exceptions=False)
    assert done.output.strip() == repr(taken)


@pytest.mark.parametrize("typed", [[], ["a", "--count", "many"], ["a", "--nonsense"]])
def test_other_types_are_read_and_what_is_wrong_is_told(app: typer.Typer, typed: list[str]) -> None:
    done = CliRunner().invoke(app, ["take", *typed])
    assert done.exit_code == 2


@pytest.mark.parametrize(
    "typed", [["ps", "--json"], ["rm", "nobody", "--force"], ["run", "--help"], ["stop", "a", "b"]]
)
def test_no_verb_of_text_and_flags_loads_pydantic(typed: list[str], settings: Settings) -> None:
    code = f"""
import sys
from spaces_runner.cli.app import app
try:
    app({typed!r})
except SystemExit:
    pass
print("pydantic" in sys.modules)
"""
    environ = {"SPACES_RUNNER_HOME": settings.home, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr
