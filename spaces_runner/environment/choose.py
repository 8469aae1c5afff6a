"""PythonChoice -> interpreters, best first: those that are here, else what uv can fetch, else the nearest one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from spaces_runner.compat import PythonChoice
from spaces_runner.environment import pythons
from spaces_runner.environment.pythons import Python
from spaces_runner.errors import PythonMissing
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings

OLDEST = (3, 8)  # for which uv resolves


@dataclass(slots=True)
class Interpreters:
    """The interpreters for a choice, looked for one by one as they are needed and remembered."""

    coming: Iterator[Python]
    found: list[Python] = field(default_factory=list)

    def __iter__(self) -> Iterator[Python]:
        yield from self.found.copy()
        for python in self.coming:
            self.found.append(python)
            yield python

    @property
    def first(self) -> Python:
        return next(iter(self))


def interpreters(choice: PythonChoice, settings: Settings, report: Reporter) -> Interpreters:
    """At least one. Raises PythonMissing where none will do, or the one that was asked for does not exist."""
    chosen = Interpreters(coming=_candidates(choice, settings, report))
    chosen.found.append(next(chosen.coming))
    return chosen


def _candidates(choice: PythonChoice, settings: Settings, report: Reporter) -> Iterator[Python]:
    some = False
    for version in choice.versions:
        with suppress(PythonMissing):
            python = pythons.find(version, settings, report, fetch=False)
            some = True
            yield python
    if not some:
        yield _fetched(choice, settings, report)


def _fetched(choice: PythonChoice, settings: Settings, report: Reporter) -> Python:
    wanted = choice.versions[0]
    try:
        return pythons.find(wanted, settings, report)
    except PythonMissing:
        near = _nearest(wanted, settings)
        if choice.firm or near is None or not pythons.exists(wanted, settings):
            raise
    report.log(f"Python {wanted} cannot be had; the nearest that is here is {near}")
    return pythons.find(near, settings, report, fetch=False)


def _nearest(wanted: str, settings: Settings) -> str | None:
    """The minor version on this machine that is nearest to `wanted`; of two equally near ones the newer."""
    number = int(pythons.minor_of(wanted).split(".")[1])
    minors = {python.minor for python in pythons.installed(settings)}
    usable = [int(minor.split(".")[1]) for minor in minors if tuple(map(int, minor.split("."))) >= OLDEST]
    return f"3.{min(usable, key=lambda minor: (abs(minor - number), -minor))}" if usable else None
