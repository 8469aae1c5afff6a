"""Packages as of a past day, where an index says when they were uploaded and where nobody does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from spaces_runner.settings import Settings
from spaces_runner.types import Finding, Resolution, ResolvedHow
from tests.support.home import open_directory
from tests.support.index import Index, serving
from tests.support.spaces_env import TinySpace, wheel

pytestmark = pytest.mark.network_index

OLD, NEW = "srtest_aged-1.0-py3-none-any.whl", "srtest_aged-2.0-py3-none-any.whl"
FILES = {OLD: wheel("srtest_aged", "1.0", ""), NEW: wheel("srtest_aged", "2.0", "")}
UPLOADED = {OLD: "2023-01-01T00:00:00Z", NEW: "2024-01-01T00:00:00Z"}


def resolved(settings: Settings, requirements: str, uploaded: Mapping[str, str] | None = None) -> Resolution:
    """A Space of November 2023 with one more index, which says when its files were uploaded or does not."""
    with serving(Index(files=FILES, uploaded=uploaded or {})) as root:
        there = replace(settings, extra_index_urls=(f"{root}/simple",))
        space = TinySpace(
            settings=there,
            gradio="3.50.2",
            python="3.10",
            requirements=requirements,
            committed_at="2023-11-20T10:00:00+00:00",
        )
        return space.resolve()


def finding(resolution: Resolution, code: str) -> Finding | None:
    return next((found for found in resolution.findings if found.code == code), None)


def test_an_index_that_says_when_gives_what_was_there_then(settings: Settings) -> None:
    resolution = resolved(settings, "srtest_aged\n", UPLOADED)
    assert resolution.how is ResolvedHow.AS_OF_DATE
    assert "srtest-aged==1.0" in resolution.packages
    assert finding(resolution, "undated-packages") is None


def test_what_an_index_does_not_date_is_exempted_by_name_and_nothing_else_is(settings: Settings) -> None:
    resolution = resolved(settings, "srtest_aged\n")
    assert resolution.how is ResolvedHow.AS_OF_DATE
    assert "srtest-aged==2.0" in resolution.packages
    assert "numpy==1.26.2" in resolution.packages, "the newest of that day"
    told = finding(resolution, "undated-packages")
    assert told is not None
    assert "srtest-aged may be newer than 2023-11-20" in told.message
    assert told.remedy


def test_a_pin_says_which_version_of_what_nobody_dates(settings: Settings) -> None:
    resolution = resolved(settings, "srtest_aged==1.0\n")
    assert (resolution.how, "srtest-aged==1.0" in resolution.packages) == (ResolvedHow.AS_OF_DATE, True)


def test_a_folder_of_wheels_is_limited_by_what_is_known_of_releases(settings: Settings) -> None:
    folder = open_directory("sr-folder-")
    (folder / "numpy-99.0-py3-none-any.whl").write_bytes(wheel("numpy", "99.0", ""))
    resolution = resolved(replace(settings, find_links=(str(folder),)), "numpy\n")
    assert (resolution.how, "numpy==1.26.2" in resolution.packages) == (ResolvedHow.AS_OF_DATE, True)


def test_where_the_day_has_no_answer_todays_packages_are_taken_and_it_is_told_why(settings: Settings) -> None:
    resolution = resolved(settings, "srtest_aged>=2\n", UPLOADED)
    assert resolution.how is ResolvedHow.JOINT
    assert "srtest-aged==2.0" in resolution.packages
    told = finding(resolution, "resolved-today")
    assert told is not None
    assert "srtest-aged" in "\n".join(told.lines)
