"""The compatibility rows, and which of them hold for a Space of some age."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from spaces_runner import compat
from spaces_runner.sdks import Start, gradio
from spaces_runner.types import Sdk, SpaceSpec


def facts(gradio: str, python: str = "3.10.13", imports: tuple[str, ...] = ()) -> compat.Facts:
    return compat.Facts(gradio=Version(gradio), python=Version(python), imports=frozenset(imports))


def requirements(rows: tuple[compat.Row, ...]) -> set[str]:
    return {row.requirement for row in rows}


def spec(sdk_version: str | None = None, python: str | None = None, imports: tuple[str, ...] = ()) -> SpaceSpec:
    return SpaceSpec(sdk=Sdk.GRADIO, sdk_version=sdk_version, python_version=python, imports=imports)


class Named:
    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)


def test_every_row_has_a_reason_a_source_and_valid_conditions() -> None:
    text = resources.files("spaces_runner").joinpath("data/compat.toml").read_text("utf-8")
    rows = [row for table in tomllib.loads(text).values() for row in table]
    assert [row for row in rows if not (row.get("reason") and row.get("source"))] == []
    for row in rows:
        for key in ("gradio", "streamlit", "python"):
            SpecifierSet(row.get("when", {}).get(key, ""))  # raises InvalidSpecifier


def test_a_condition_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError):
        compat.holds({"gradoi": "<4"}, facts("3.50.2"))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.9.4", {"fastapi<0.100", "pydantic<2", "setuptools<70", "numpy<2"}),
        ("3.29.0", {"fastapi<0.113", "huggingface_hub<1", "pydantic<2", "setuptools<70", "gradio_client<0.3"}),
        ("4.44.1", {"fastapi<0.113", "huggingface_hub<1", "pydantic<2.11"}),
        ("5.9.1", {"pydantic<2.11"}),
    ],
)
def test_limits_by_gradio(version: str, expected: set[str]) -> None:
    assert expected <= requirements(compat.constraints(facts(version)))


def test_a_current_gradio_has_no_limits_of_an_old_one() -> None:
    assert requirements(compat.constraints(facts("6.31.0", "3.13.0"))) == {"setuptools<81"}


@pytest.mark.parametrize(("python", "present"), [("3.13.0", True), ("3.12.1", False)])
def test_audioop_where_python_has_none(python: str, present: bool) -> None:
    assert ("audioop-lts" in requirements(compat.additions(facts("5.0.0", python)))) is present


def test_spaces_where_gradio_and_python_can_live_with_it() -> None:
    assert "spaces" in requirements(compat.additions(facts("6.31.0", "3.11.7")))
    assert "spaces" not in requirements(compat.additions(facts("3.50.2", "3.8.18")))
    assert "spaces" in requirements(compat.additions(facts("3.50.2", "3.10.13", imports=("spaces",))))
    assert "spaces<0.29" in requirements(compat.constraints(facts("4.0.2")))


@pytest.mark.parametrize(
    ("version", "first"),
    [("2.4.6", "3.8"), ("2.9.4", "3.9"), ("3.50.2", "3.10"), ("5.49.1", "3.10"), ("6.31.0", "3.13")],
)
def test_python_by_gradio(version: str, first: str) -> None:
    choice = compat.python_for(spec(version), (), facts(version))
    assert (choice.versions[0], choice.asked) == (first, False)


def test_the_owners_word_comes_before_the_spaces_and_that_before_any_row() -> None:
    newest = compat.Facts()
    assert compat.python_for(spec(python="3.10"), (), newest, "3.12").versions == ("3.12",)
    assert compat.python_for(spec(python="3.10"), (), newest).versions == ("3.10",)
    wheel = ("https://example.org/x-1.0-cp310-cp310-linux_x86_64.whl",)
    assert compat.python_for(spec(), wheel, newest).versions == ("3.10",)


def test_wheels_for_every_python_choose_none() -> None:
    lines = ("./x-1.0-cp39-abi3-linux_x86_64.whl", "./y-1.0-py3-none-any.whl")
    assert not compat.python_for(spec(), lines, compat.Facts()).asked


@pytest.mark.parametrize("text", [None, "", "main", "latest"])
def test_a_version_that_is_none_is_the_newest(text: str | None) -> None:
    assert compat.version_of(text) == compat.NEWEST


def test_what_was_written_for_gradio_3_gets_packages_of_its_time() -> None:
    assert compat.as_of_date_first(facts("3.29.0"))
    assert not compat.as_of_date_first(facts("5.49.1"))


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("6.31.0", "gradio[oauth,mcp]==6.31.0"),
        ("5.9.1", "gradio[oauth]==5.9.1"),
        ("3.29.0", "gradio==3.29.0"),
        (None, "gradio[oauth,mcp]"),
    ],
)
def test_gradio_as_the_hub_asks_for_it(version: str | None, line: str) -> None:
    assert gradio.additions(spec(version), Named(), "3.11.7")[0] == line


def test_large_packages_only_where_the_code_imports_them() -> None:
    assert not {"torch", "datasets"} & set(gradio.additions(spec(), Named(), "3.11.7"))
    assert "torch" in gradio.additions(spec(imports=("torch",)), Named(), "3.11.7")
    assert "torch" not in gradio.additions(spec(imports=("torch",)), Named("torch"), "3.11.7")


def test_the_command_is_the_apps_file_with_the_owners_arguments() -> None:
    one = SpaceSpec(sdk=Sdk.GRADIO, app_file="src/app.py")
    command = gradio.argv(Start(python="/venv/bin/python", spec=one, args=("--base_model", "x")))
    assert command == ("/venv/bin/python", "src/app.py", "--base_model", "x")
