"""Which Python and which limits a Space of some age needs: rows of `data/compat.toml`, chosen by what it runs on.

Pure but for reading that file and `data/releases.toml`. Knows neither uv nor what is installed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from spaces_runner.types import SpaceSpec

NEWEST = Version("9999")  # of a Gradio whose version nobody named: today's
_AT_LEAST = frozenset({">=", ">", "==", "===", "~="})  # clauses that lower versions do not meet
_WHEEL_TAG = re.compile(r"-cp3(\d+)-cp3\d+m?-[\w.]+\.whl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A limit or an addition, with the reason that a person can check."""

    requirement: str
    reason: str
    source: str
    aged: bool = False  # it holds for this age of the Space's Gradio or Streamlit, not for every Space

    @property
    def package(self) -> str:
        """The canonical name of what it is of."""
        return canonicalize_name(Requirement(self.requirement).name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonChoice:
    """Python versions in order of preference."""

    versions: tuple[str, ...]
    source: str  # where it comes from, for people
    asked: bool = False  # the owner or the Space named it: no other is tried for the sake of the packages
    firm: bool = False  # nor is another taken where it cannot be had


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rows are chosen by."""

    gradio: Version | None = NEWEST  # None: no Gradio Space
    streamlit: Version | None = None
    named: bool = True  # the Space says which version that is, so it is no guess
    python: Version | None = None
    imports: frozenset[str] = frozenset()
    committed: str = ""  # "2024-05-31", or "" where nobody knows


def version_of(text: str | None) -> Version:
    """The version that `text` names, or `NEWEST` for none and for what is no version."""
    try:
        return Version(text) if text else NEWEST
    except InvalidVersion:
        return NEWEST


def likely_version(package: str, specifier: str, committed: str) -> Version:
    """The version of `package` that a Space without an exact one was made for, as far as releases are known.

    The newest that `specifier` allows of those that were out on the day `committed` ("": today).
    """
    try:
        allowed = SpecifierSet(specifier)
    except InvalidSpecifier:
        return NEWEST
    releases = _releases()[package]
    known = [version for version, day in releases if not committed or day <= committed]
    if known and known[-1] == releases[-1][0] and allowed.contains(NEWEST):
        return NEWEST  # there may be newer ones than are listed
    return next((version for version in reversed(known) if allowed.contains(version)), NEWEST)


def python_for(
    spec: SpaceSpec, facts: Facts, *, needed: Iterable[str] = (), near: Iterable[str] = (), asked: str | None = None
) -> PythonChoice:
    """The Python for a Space: the owner's word, the Space's, what its wheels are for, else by its age.

    `needed` are its requirements; `near` its other mentions of wheels: files of the Space, lines of its code.
    """
    if asked:
        return PythonChoice(versions=(asked,), source="as asked for", asked=True, firm=True)
    if spec.python_version:
        return PythonChoice(versions=(spec.python_version,), source="python_version in README.md", asked=True)
    if minor := _wheel_python(needed):
        source = "a wheel among the requirements is for it"
        return PythonChoice(versions=(minor,), source=source, asked=True, firm=True)
    if minor := _wheel_python(near):
        return PythonChoice(versions=(minor,), source="a wheel in the Space is for it", asked=True)
    row = next(row for row in _table()["python"] if holds(row["when"], facts))
    return PythonChoice(versions=tuple(row["versions"]), source=row["reason"])


def constraints(facts: Facts) -> tuple[Row, ...]:
    """The limits that hold for such a Space."""
    return _rows("constraint", "constraint", facts)


def additions(facts: Facts) -> tuple[Row, ...]:
    """What is installed besides the requirements, for such a Space."""
    return _rows("addition", "requirement", facts)


def as_of_date_first(facts: Facts) -> str:
    """Why packages as of the Space's last commit are to be tried before today's; "" where they are not."""
    return next((row["reason"] for row in _table()["as_of_date"] if holds(row["when"], facts)), "")


def undated() -> tuple[str, ...]:
    """Packages whose newer versions may be used when all others are as of a past day."""
    return tuple(row["package"] for row in _table()["undated"])


def released_by(day: str) -> dict[str, str]:
    """Limits, by package, that leave out what was released after `day`, as far as releases are known: "<2.1"."""
    later = {
        package: next((version for version, released in releases if released > day), None)
        for package, releases in _releases().items()
    }
    return {package: f"<{version}" for package, version in later.items() if version}


def at_odds(specifier: str, limit: str) -> bool:
    """Whether no version can meet both: `specifier` asks for more than the upper `limit` leaves."""
    within = SpecifierSet(limit)
    return any(_beyond(clause, within) for clause in SpecifierSet(specifier))


def holds(when: Mapping[str, Any], facts: Facts) -> bool:
    """Whether each condition of a row's `when` holds. Raises KeyError for one that does not exist."""
    checks: dict[str, Callable[[Any], bool]] = {
        "gradio": lambda value: _within(facts.gradio, value),
        "streamlit": lambda value: _within(facts.streamlit, value),
        "named": lambda value: facts.named is value,
        "python": lambda value: _within(facts.python, value),
        "imports": lambda value: not facts.imports.isdisjoint(value),
        "committed": lambda value: bool(facts.committed) and _between(facts.committed, value),
    }
    return all(checks[name](value) for name, value in when.items())


def _within(version: Version | None, specifier: str) -> bool:
    return version is not None and SpecifierSet(specifier).contains(version, prereleases=True)


def _between(day: str, span: str) -> bool:
    """`span` is "FIRST..", "..LAST" or "FIRST..LAST", both included."""
    first, _, last = span.partition("..")
    return first <= day and (not last or day <= last)


def _beyond(clause: Specifier, within: SpecifierSet) -> bool:
    if clause.operator not in _AT_LEAST:
        return False
    version = version_of(clause.version.removesuffix(".*"))
    return version is not NEWEST and not within.contains(version, prereleases=True)


def _rows(table: str, key: str, facts: Facts) -> tuple[Row, ...]:
    return tuple(
        Row(
            requirement=row[key],
            reason=row["reason"],
            source=row["source"],
            aged=not {"gradio", "streamlit"}.isdisjoint(row["when"]),
        )
        for row in _table()[table]
        if holds(row["when"], facts)
    )


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    return _data("compat.toml")


@cache
def _releases() -> dict[str, list[tuple[Version, str]]]:
    """Version and day of the releases that are listed, oldest first, by package."""
    listed = {row["package"]: [text.split() for text in row["versions"]] for row in _data("releases.toml")["released"]}
    return {package: [(Version(version), day) for version, day in rows] for package, rows in listed.items()}


def _data(name: str) -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(resources.files("spaces_runner").joinpath("data", name).read_text("utf-8"))


def _wheel_python(texts: Iterable[str]) -> str | None:
    """The one minor version that wheels are built for that are named there: `…-cp310-cp310-linux_x86_64.whl`."""
    minors = {f"3.{match}" for text in texts for match in _WHEEL_TAG.findall(text)}
    return minors.pop() if len(minors) == 1 else None
