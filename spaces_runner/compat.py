"""Which Python and which limits a Space of some age needs: rows of `data/compat.toml`, by its Gradio or Streamlit.

Pure but for reading that file. Knows neither uv nor what is installed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from spaces_runner.types import SpaceSpec

NEWEST = Version("9999")  # of a Gradio whose version nobody named: today's


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A limit or an addition, with the reason that a person can check."""

    requirement: str
    reason: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonChoice:
    """Python versions in order of preference. `asked`: the owner or the Space named it, so no other will do."""

    versions: tuple[str, ...]
    source: str  # where it comes from, for people
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rows are chosen by."""

    gradio: Version | None = NEWEST  # None: no Gradio Space
    streamlit: Version | None = None
    python: Version | None = None
    imports: frozenset[str] = frozenset()
    committed: str = ""  # "2024-05-31", or "" where nobody knows


def facts(package: str, version: str | None, committed: str = "") -> Facts:
    """Of a Space that `version` of `package` serves."""
    known = version_of(version)
    return Facts(
        gradio=known if package == "gradio" else None,
        streamlit=known if package == "streamlit" else None,
        committed=committed,
    )


def version_of(text: str | None) -> Version:
    """The version that `text` names, or `NEWEST` for none and for what is no version."""
    try:
        return Version(text) if text else NEWEST
    except InvalidVersion:
        return NEWEST


def python_for(spec: SpaceSpec, lines: Iterable[str], known: Facts, asked: str | None = None) -> PythonChoice:
    """The Python for a Space: the owner's word, the Space's, what its wheels are for, else by what is `known`.

    `lines` are its requirements.
    """
    if asked:
        return PythonChoice(versions=(asked,), source="as asked for", asked=True)
    if spec.python_version:
        return PythonChoice(versions=(spec.python_version,), source="python_version in README.md", asked=True)
    if minor := _wheel_python(lines):
        return PythonChoice(versions=(minor,), source="a wheel among the requirements is for it", asked=True)
    row = next(row for row in _table()["python"] if holds(row["when"], known))
    return PythonChoice(versions=tuple(row["versions"]), source=row["reason"])


def constraints(facts: Facts) -> tuple[Row, ...]:
    """The limits that hold for such a Space."""
    return _rows("constraint", "constraint", facts)


def additions(facts: Facts) -> tuple[Row, ...]:
    """What is installed besides the requirements, for such a Space."""
    return _rows("addition", "requirement", facts)


def as_of_date_first(facts: Facts) -> bool:
    """Whether packages as of the Space's last commit are to be tried before today's."""
    return any(holds(row["when"], facts) for row in _table()["as_of_date"])


def undated() -> tuple[str, ...]:
    """Packages whose newer versions may be used when all others are as of a past day."""
    return tuple(row["package"] for row in _table()["undated"])


def holds(when: Mapping[str, Any], facts: Facts) -> bool:
    """Whether each condition of a row's `when` holds. Raises KeyError for one that does not exist."""
    checks: dict[str, Callable[[Any], bool]] = {
        "gradio": lambda value: _within(facts.gradio, value),
        "streamlit": lambda value: _within(facts.streamlit, value),
        "python": lambda value: _within(facts.python, value),
        "imports": lambda value: not facts.imports.isdisjoint(value),
        "committed": lambda value: bool(facts.committed) and facts.committed >= value.removesuffix(".."),
    }
    return all(checks[name](value) for name, value in when.items())


def _within(version: Version | None, specifier: str) -> bool:
    return version is not None and SpecifierSet(specifier).contains(version, prereleases=True)


def _rows(table: str, key: str, facts: Facts) -> tuple[Row, ...]:
    return tuple(
        Row(requirement=row[key], reason=row["reason"], source=row["source"])
        for row in _table()[table]
        if holds(row["when"], facts)
    )


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    text = resources.files("spaces_runner").joinpath("data/compat.toml").read_text("utf-8")
    return tomllib.loads(text)


def _wheel_python(lines: Iterable[str]) -> str | None:
    """The one minor version that a wheel named by file or URL was built for: `…-cp310-cp310-linux_x86_64.whl`."""
    minors = {f"3.{match}" for line in lines if ".whl" in line for match in re.findall(r"-cp3(\d+)-cp3\d+m?-", line)}
    return minors.pop() if len(minors) == 1 else None
