"""What errors advise, in the words of the page."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import spaces_runner
from app.views import problem
from app.views import text as views
from app.views.words import of_page
from spaces_runner.types import ErrorInfo, Finding, Severity, Stage

ROOT = Path(spaces_runner.__file__).parent
# Options of `spaces-runner run` for which the page has a field.
OPTIONS = re.compile(r"--(python|secret|env|gpu|no-share|refresh)\b|(^|\s)--([ ,]|$)|spaces-runner run\b")


@pytest.mark.parametrize(
    ("advice", "words"),
    [
        ("Launch again with --python 3.10.", "Launch again with Python 3.10."),
        ("It means --python 3.10).", "It means Python 3.10)."),
        ("Launch again with --python and a version in >=3.8.", "Launch again with a Python version in >=3.8."),
        ("Loosen it, or try another --python.", "Loosen it, or try another Python."),
        ("Choose one with --python, or install it.", "Choose one with “Python” in the options, or install it."),
        (
            "Set it with --secret API_KEY=… (or --env API_KEY=… when it is nothing secret).",
            "Set it as the secret API_KEY (or the variable API_KEY when it is nothing secret).",
        ),
        (
            "Then launch with --secret HF_TOKEN=… of that account.",
            "Then launch with the secret HF_TOKEN of that account.",
        ),
        ("Gated ones need a token: --secret HF_TOKEN", "Gated ones need a token: the secret HF_TOKEN"),
        ("Launch with --env GRADIO_SSR_MODE=false.", "Launch with the variable GRADIO_SSR_MODE=false."),
        ("Many read a variable: --env with that name.", "Many read a variable: a variable with that name."),
        ("Point it there with --env HF_HOME.", "Point it there with the variable HF_HOME."),
        ("Choose a larger GPU with --gpu; or stop.", "Choose a larger GPU with “GPU” in the options; or stop."),
        ("Launch with --gpu auto.", "Launch with “GPU” set to auto."),
        ("Launch with --no-share.", "Launch without “Public link”."),
        ("Launch with -- --{model} ….", "Launch with --{model} … in “Arguments of the app”."),
        (
            "Launch again with them after --, for example: spaces-runner run … -- --base_model ….",
            "Launch again with them in “Arguments of the app”, for example: --base_model ….",
        ),
        ("Launch with other arguments after --, or none.", "Launch with other “Arguments of the app”, or none."),
        ("Stop other Spaces (spaces-runner ps, spaces-runner stop), or wait.", "Stop other Spaces, or wait."),
        ("apt-get install -y --no-install-recommends git", "apt-get install -y --no-install-recommends git"),
        ("See spaces-runner doctor.", "See spaces-runner doctor."),
    ],
)
def test_advice_names_the_fields_of_the_page(advice: str, words: str) -> None:
    assert of_page(advice) == words


def sentences() -> list[str]:
    """Every text of the runner that speaks of an option, faces apart; a command's own arguments have no space."""
    found = [text for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] != "cli" for text in _texts(path)]
    rows = tomllib.loads((ROOT / "data" / "triage.toml").read_text())["row"]
    found += [re.sub(r"\{\w+\}", "NAME", row.get("remedy", "")) for row in rows]
    return [text for text in found if " " in text and "--" in text]


def _texts(path: Path) -> Iterator[str]:
    """The strings of a module as they are written, with NAME for what is filled in."""
    tree = ast.parse(path.read_text())
    filled = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in filled for part in node.values}
    for node in filled:
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "NAME" for part in node.values)
    for each in ast.walk(tree):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in parts:
            yield each.value


def test_no_advice_of_the_runner_is_left_in_the_words_of_the_command_line() -> None:
    advice = [text for text in sentences() if OPTIONS.search(text)]
    assert len(advice) > 20
    assert [text for text in advice if OPTIONS.search(of_page(text))] == []


def test_errors_and_findings_are_shown_so() -> None:
    error = ErrorInfo(code="x", stage=Stage.RUNTIME_ERROR, step=None, message="It ended.", hint="Try --python 3.10.")
    assert "Try Python 3.10." in problem.render(error)
    finding = Finding(code="x", severity=Severity.WARNING, message="Why.", remedy="Set it with --secret A=….")
    assert "Set it as the secret A." in views.findings([finding])
