"""What uv says of a failed resolution, in words for people: uv's real lines, and what is made of them (pure)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from spaces_runner.environment.attempt import HASHES_DIFFER, Answer
from spaces_runner.environment.failure import failure, why
from spaces_runner.environment.pythons import Python
from spaces_runner.environment.request import Request, make, read_wishes
from spaces_runner.environment.uv import Outcome
from spaces_runner.errors import Unresolvable
from spaces_runner.types import Checkout, RefKind, Sdk, SpaceRef, SpaceSpec

NO_SOLUTION = "error: No solution found when resolving dependencies"
PYTHON = Python(path=sys.executable, version="3.11.7", prefix=sys.prefix, tag="cpython-311")


def answer(*lines: str) -> Answer:
    return Answer(lock="", outcome=Outcome(code=1, stdout="", lines=lines))


def told(folder: Path, requirements: str, *lines: str, sdk: Sdk = Sdk.GRADIO) -> Unresolvable:
    """The error for a Space with `requirements`."""
    (folder / "requirements.txt").write_text(requirements)
    spec = SpaceSpec(sdk=sdk, sdk_version="6.31.0", requirements="requirements.txt")
    checkout = Checkout(ref=SpaceRef(kind=RefKind.HUB, source="o/n"), commit="c" * 40, path=str(folder))
    wishes = read_wishes(spec, checkout)
    request: Request = make(spec, wishes, PYTHON)
    error = failure(answer(*lines), wishes, request)
    assert isinstance(error, Unresolvable)
    assert error.lines == lines
    return error


SENTENCES = {
    "unknown package": (
        "  cause: Because nowhere was not found in the package registry and you require nowhere, we can conclude that",
        "name nowhere, which the package index does not have",
        "Correct its name",
    ),
    "unknown version": (
        "  cause: Because there is no version of iniconfig==999.0 and you require iniconfig==999.0, we can conclude",
        "There is no iniconfig==999.0",
        "pip index versions iniconfig",
    ),
    "unknown Gradio": (
        "  cause: Because there is no version of gradio[oauth,mcp]==6.31.0 and you require gradio[oauth,mcp]==6.31.0,",
        "There is no Gradio 6.31.0",
        "Correct sdk_version",
    ),
    "unknown Streamlit": (
        "  cause: Because there is no version of streamlit==6.31.0 and you require streamlit==6.31.0, we can conclude",
        "There is no Streamlit 6.31.0",
        "pip index versions streamlit",
    ),
    "wheels for other Pythons": (
        "  cause: Because tensorflow==1.15.0 has no wheels with a matching Python ABI tag (e.g., `cp311`) and you",
        "tensorflow==1.15.0 has no wheel for Python 3.11.7",
        "--python",
    ),
    "another Python": (
        "  cause: Because the current Python version (3.11.7) does not satisfy Python>=3.12 and numpy==2.5.5 depends "
        "on Python>=3.12, we can conclude that numpy==2.5.5 cannot be used.",
        "numpy==2.5.5 needs Python >=3.12, and the Space gets 3.11.7",
        "--python",
    ),
    "pins at odds": (
        "  cause: Because you require requests==2.31.0 and requests==2.32.3, we can conclude that your requirements",
        "do not fit together",
        "Loosen one",
    ),
}


@pytest.mark.parametrize(("cause", "message", "hint"), SENTENCES.values(), ids=SENTENCES)
def test_a_sentence_for_each_reason(tmp_path: Path, cause: str, message: str, hint: str) -> None:
    sdk = Sdk.STREAMLIT if "streamlit" in cause else Sdk.GRADIO
    error = told(tmp_path, "", NO_SOLUTION, cause, sdk=sdk)
    assert message in error.message
    assert hint in error.hint


def test_the_python_that_a_wheel_is_for_is_told(tmp_path: Path) -> None:
    cause = (
        "  cause: Because only x==1.0 is available and x==1.0 has no wheels with a matching Python version tag (e.g., "
    )
    error = told(
        tmp_path, "https://e.org/x-1.0-cp310-cp310-linux_x86_64.whl\n", NO_SOLUTION, f"{cause}`cp311`), we can"
    )
    assert error.message == "x==1.0 has no wheel for Python 3.11.7."
    assert "3.10" in error.hint


def test_a_source_that_the_space_names_is_not_called_the_index(tmp_path: Path) -> None:
    lines = (
        "error: Failed to fetch: https://e.org/simple/x/",
        "  cause: error sending request for url (https://e.org/)",
    )
    theirs = told(
        tmp_path, "-i https://me:secret@e.org/simple\nx\n", lines[0].replace("e.org", "me:secret@e.org"), lines[1]
    )
    assert theirs.message.startswith("https://…@e.org/simple/x/, which the requirements name")
    assert told(tmp_path, "x\n", *lines).message == "The package index could not be reached."


def test_hashes_that_differ(tmp_path: Path) -> None:
    error = told(
        tmp_path, "", HASHES_DIFFER, "  cause: x==1 (x-1.whl) is none of the files that the --hash lines allow."
    )
    assert "by their hashes" in error.message
    assert answer(HASHES_DIFFER).hopeless


REASONS = {
    "uv's cause": ((NO_SOLUTION, "  cause: Because a and b", "         And because c"), "Because a and b"),
    "git's": (
        (
            "error: Git operation failed",
            "  cause: failed to clone into: /x",
            "         fatal: unable to access 'https://e'",
        ),
        "unable to access 'https://e'",
    ),
    "what a build raised": (
        (
            "error: Failed to build `x`",
            "  cause: The build backend returned an error",
            "  ModuleNotFoundError: No torch",
        ),
        "ModuleNotFoundError: No torch",
    ),
    "an error alone": (("warning: nothing", "error: Out of luck"), "Out of luck"),
    "nothing": ((), "it gave none"),
}


@pytest.mark.parametrize(("lines", "said"), REASONS.values(), ids=REASONS)
def test_a_reason_in_one_line(lines: tuple[str, ...], said: str) -> None:
    assert why(lines) == said


def test_a_long_reason_is_cut() -> None:
    assert len(why((f"error: {'x' * 5000}",))) < 500
