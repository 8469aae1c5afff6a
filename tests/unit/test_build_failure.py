"""Of a failed build, what is said of the Space's own projects (pure)."""

from __future__ import annotations

from pathlib import Path

import pytest

from spaces_runner.environment.failure import build_failure, install_failure, without_backend
from spaces_runner.environment.request import placed_lines
from spaces_runner.environment.uv import Outcome
from spaces_runner.errors import BuildError, PackagesTooLarge
from spaces_runner.types import Step

BACKEND = "/home/x/own-cache/builds-v0/.tmpA/lib/python3.11/site-packages/setuptools/build_meta.py"
TRACEBACK = (
    "  [stderr]",
    "  Traceback (most recent call last):",
    '    File "<string>", line 14, in <module>',
    f'    File "{BACKEND}", line 333, in get_requires_for_build_wheel',
    "      return self._get_build_requires(config_settings, requirements=[])",
    "             ^^^^^^^^^^^^^^^^^^^^^^^^",
    f'    File "{BACKEND}", line 317, in run_setup',
    "      exec(code, locals())",
    '    File "<string>", line 3, in <module>',
    '    File "/home/x/build/src/0/own/tools.py", line 7, in find',
    "      raise RuntimeError(name)",
    "  RuntimeError: z",
)


def test_a_traceback_begins_in_the_project() -> None:
    assert without_backend(TRACEBACK) == (*TRACEBACK[:2], '    File "setup.py", line 3, in <module>', *TRACEBACK[9:])


def test_what_is_no_traceback_of_a_backend_stays() -> None:
    other = ("Traceback (most recent call last):", '  File "<string>", line 1, in <module>', "KeyError: 1")
    assert without_backend(other) == other
    assert without_backend(()) == ()
    cut = TRACEBACK[:6]
    assert without_backend(cut)[:2] == cut[:2]


def test_paths_are_those_of_the_space() -> None:
    error = build_failure("Failed to build `own @ file:///home/x/build/src/1/own`", TRACEBACK, ("one", "libs/own"))
    assert error.message.startswith("./libs/own, ")
    assert any('"./one/tools.py"' in line for line in error.lines)


def test_where_no_project_is_named_it_can_be_any() -> None:
    error = build_failure("error: The build backend returned an error", TRACEBACK, ("one", "two"))
    assert error.message.startswith("./one or ./two, ")


def test_a_package_of_the_index_is_none_of_the_space() -> None:
    error = build_failure("Failed to download and build `old==1.0`", TRACEBACK, ("own",))
    assert error.message.startswith("old==1.0 has no wheel")
    assert error.lines == TRACEBACK


def test_a_path_that_a_build_made_up_is_left_as_it_is() -> None:
    error = build_failure("Failed to build `own @ /b/src/0/own`", ("see /b/src/77/other",), ("own",))
    assert error.lines == ("see /b/src/77/other",)


@pytest.mark.parametrize("says", ["No space left on device (os error 28)", "Disk quota exceeded (os error 122)"])
def test_a_full_disk_is_the_disks_error(says: str) -> None:
    lines = ("error: Failed to install: torch", f"  cause: failed to write /x/torch.so: {says}")
    error = install_failure(Outcome(code=2, stdout="", lines=lines))
    assert isinstance(error, PackagesTooLarge)
    assert (error.info.code, error.info.step, error.lines) == ("packages_too_large", Step.ENVIRONMENT, lines)
    assert isinstance(build_failure("\n".join(lines), lines, ()), PackagesTooLarge)


def test_another_failed_installation_is_none() -> None:
    error = install_failure(Outcome(code=2, stdout="", lines=("error: Failed to fetch https://index.example/torch",)))
    assert type(error) is BuildError
    assert "network" in error.hint


def test_the_space_itself_is_named_as_its_requirements_do() -> None:
    assert build_failure("Failed to build `own @ file:///b/src/0/app`", TRACEBACK, (".",)).message.startswith(
        "., which"
    )


@pytest.mark.parametrize(
    ("line", "root", "copied"),
    [
        (".", "/space", "/copy"),
        ("-e .", "/space", "/copy"),
        (".[extra]", "/space[extra]", "/copy[extra]"),
        ("./libs/own[a,b]", "/space/libs/own[a,b]", "/space/libs/own[a,b]"),
        ("-e ./libs/own", "/space/libs/own", "/space/libs/own"),
        ("requests==2.0", "requests==2.0", "requests==2.0"),
    ],
)
def test_paths_of_the_space_are_placed(line: str, root: str, copied: str) -> None:
    assert placed_lines((line,), Path("/space"), {}) == (root,)
    assert placed_lines((line,), Path("/space"), {".": Path("/copy")}) == (copied,)
