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
        for key in ("gradio", "python", "streamlit"):
            SpecifierSet(row.get("when", {}).get(key, ""))  # raises InvalidSpecifier


def test_a_condition_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError):
        compat.holds({"gradoi": "<4"}, facts("3.50.2"))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.9.4", {"fastapi<0.100", "pydantic<2", "setuptools<70", "numpy<2"}),
        ("3.29.0", {"fastapi<0.113", "huggingface_hub<1", "pydantic<2", "setuptools<70", "gradio_client<0.3"}),
        ("3.12.0", {"fastapi<0.113", "pydantic<2", "httpx<0.24"}),
        ("3.25.0", {"pydantic<2", "gradio_client<0.1"}),
        ("3.34.0", {"pydantic<2", "gradio_client<0.3"}),
        ("3.39.0", {"pydantic<2.11", "gradio_client<0.5"}),
        ("4.44.1", {"fastapi<0.113", "huggingface_hub<1", "pydantic<2.11"}),
        ("5.1.0", {"fastapi<0.113", "huggingface_hub<1", "pydantic<2.11"}),
        ("5.6.0", {"huggingface_hub<1", "pydantic<2.11"}),
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
    assert "spaces>=0.29" in requirements(compat.constraints(facts("3.29.0")))
    assert "spaces" in compat.undated()


@pytest.mark.parametrize(
    ("version", "first"),
    [("2.4.6", "3.8"), ("2.9.4", "3.9"), ("3.50.2", "3.10"), ("5.49.1", "3.10"), ("6.31.0", "3.13")],
)
def test_python_by_gradio(version: str, first: str) -> None:
    choice = compat.python_for(spec(version), facts(version))
    assert (choice.versions[0], choice.asked) == (first, False)


def wheel(python: str) -> str:
    return f"https://example.org/x-1.0-{python}-linux_x86_64.whl"


def test_the_owners_word_comes_before_the_spaces_and_that_before_wheels_and_any_row() -> None:
    newest, cp310, cp311 = compat.Facts(), [wheel("cp310-cp310")], [wheel("cp311-cp311")]
    asked = compat.python_for(spec(python="3.10"), newest, asked="3.12")
    assert (asked.versions, asked.firm) == (("3.12",), True)
    said = compat.python_for(spec(python="3.9"), newest, needed=cp310)
    assert (said.versions, said.asked, said.firm) == (("3.9",), True, False)
    needed = compat.python_for(spec(), newest, needed=cp310, near=cp311)
    assert (needed.versions, needed.firm) == (("3.10",), True)
    near = compat.python_for(spec(), newest, near=["pip install " + cp311[0]])
    assert (near.versions, near.asked, near.firm) == (("3.11",), True, False)


@pytest.mark.parametrize("wheels", [["cp39-abi3", "py3-none"], ["cp310-cp310", "cp311-cp311"]])
def test_wheels_for_several_pythons_choose_none(wheels: list[str]) -> None:
    assert not compat.python_for(spec(), compat.Facts(), needed=map(wheel, wheels)).asked


@pytest.mark.parametrize(
    ("specifier", "committed", "version"),
    [
        ("", "", "9999"),
        ("<4", "", "3.48"),
        ("", "2023-06-01", "3.29"),
        (">=4,<5", "2024-07-01", "4.37"),
        ("", "2024-07-01", "4.37"),
        ("", "2099-01-01", "9999"),
        ("<1", "2023-06-01", "9999"),
        ("no specifier", "2023-06-01", "9999"),
    ],
)
def test_a_gradio_that_nobody_names_is_the_one_of_its_day(specifier: str, committed: str, version: str) -> None:
    assert compat.likely_version("gradio", specifier, committed) == Version(version)


def test_python_and_order_follow_the_day_where_no_gradio_is_named() -> None:
    then = compat.Facts(gradio=compat.likely_version("gradio", "", "2023-06-01"), named=False, committed="2023-06-01")
    assert compat.python_for(spec(), then).versions[0] == "3.10"
    assert compat.as_of_date_first(then)
    assert not compat.as_of_date_first(compat.Facts(named=False))


def test_a_streamlit_space_has_rows_of_its_own() -> None:
    old = compat.Facts(gradio=None, streamlit=Version("1.10.0"), python=Version("3.9.18"))
    assert compat.python_for(spec(), old).versions[0] == "3.9"
    assert "altair<5" in requirements(compat.constraints(old))
    assert not {"fastapi<0.113", "pydantic<2"} & requirements(compat.constraints(old))
    assert "spaces" not in requirements(compat.additions(old))
    assert compat.as_of_date_first(old)
    new = compat.Facts(gradio=None, streamlit=Version("1.40.0"), python=Version("3.10.13"))
    assert compat.python_for(spec(), new).versions[0] == "3.10"
    assert "altair<5" not in requirements(compat.constraints(new))


@pytest.mark.parametrize(
    ("span", "day", "within"),
    [
        ("2024-01-01..", "2024-01-01", True),
        ("2024-01-01..", "2023-12-31", False),
        ("..2023-12-31", "2023-12-31", True),
        ("..2023-12-31", "2024-01-01", False),
        ("2023-01-01..2023-12-31", "2023-06-01", True),
        ("2023-01-01..2023-12-31", "2024-06-01", False),
        ("..2023-12-31", "", False),
    ],
)
def test_spans_of_days(span: str, day: str, within: bool) -> None:
    assert compat.holds({"committed": span}, compat.Facts(committed=day)) is within


@pytest.mark.parametrize(
    ("specifier", "limit", "odds"),
    [
        ("", "<0.113", False),
        (">=0.95", "<0.113", False),
        (">=0.113", "<0.113", True),
        ("==0.115.*", "<0.113", True),
        ("==0.100.1", "<0.113", False),
        ("~=0.114.0", "<0.113", True),
        ("<1", "<0.113", False),
        ("!=0.114", "<0.113", False),
        ("===main", "<0.113", False),
    ],
)
def test_a_limit_gives_way_only_to_what_it_forbids(specifier: str, limit: str, odds: bool) -> None:
    assert compat.at_odds(specifier, limit) is odds


def test_what_was_released_later_is_left_out() -> None:
    assert compat.released_by("2023-06-01")["torch"] == "<2.1"
    assert compat.released_by("2023-03-15")["torch"] == "<2.1", "2.0 was released on that day"
    assert compat.released_by("2099-01-01") == {}


def test_releases_are_listed_in_order() -> None:
    text = resources.files("spaces_runner").joinpath("data/releases.toml").read_text("utf-8")
    for row in tomllib.loads(text)["released"]:
        listed = [release.split() for release in row["versions"]]
        assert [Version(version) for version, _ in listed] == sorted(Version(version) for version, _ in listed)
        assert [day for _, day in listed] == sorted(day for _, day in listed), row["package"]


def test_torch_is_bounded_where_the_space_may_run_on_zero_gpu() -> None:
    assert "torch<2.14" in requirements(compat.constraints(facts("5.49.1", imports=("spaces", "torch"))))
    assert "torch<2.14" not in requirements(compat.constraints(facts("5.49.1", imports=("torch",))))


@pytest.mark.parametrize("text", [None, "", "main", "latest"])
def test_a_version_that_is_none_is_the_newest(text: str | None) -> None:
    assert compat.version_of(text) == compat.NEWEST


def test_what_was_written_for_gradio_3_gets_packages_of_its_time() -> None:
    assert "upper bounds" in compat.as_of_date_first(facts("3.29.0"))
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
