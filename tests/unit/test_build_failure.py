"""Of a failed build, what is said of the Space's own projects (pure)."""

from __future__ import annotations

from spaces_runner.environment.failure import build_failure, without_backend

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
