"""SpaceSpec and requirements files -> what a resolver is asked for. Reads files of the checkout, runs nothing."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from spaces_runner import compat, requirements, sdks
from spaces_runner.codec import encode
from spaces_runner.environment.pythons import Python
from spaces_runner.requirements import Entry, Requirements
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, SpaceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a Space's files ask for, before anything is known of the Python."""

    required: Requirements
    package: str  # what serves the Space: "gradio", "streamlit"
    version: str | None  # the one of it that decides: sdk_version, else the requirements' pin
    contradicted: str | None  # the requirements' pin where it is not sdk_version's
    committed: str  # "2024-05-31", or ""

    @property
    def facts(self) -> compat.Facts:
        """What rows of compatibility are chosen by, before anything is known of the Python."""
        return compat.facts(self.package, self.version, self.committed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a resolver. Paths of the Space stand as `./path`, relative to its root."""

    lines: tuple[str, ...]  # the Space's own
    additions: tuple[str, ...]  # the Hub's
    limits: tuple[str, ...]  # of the compatibility rows
    constraints: tuple[str, ...]  # the Space's own
    prerelease: bool
    builds: bool  # a line names a project or repository, which cannot be read without running its code
    own: bool  # a line names a file or folder of the Space: another Space's has the same name and other contents
    python: Python
    bare: str = ""  # the first of the additions without extras

    def relaxed(self) -> Request:
        """Without our limits and Gradio's extras: nearer to what the author tried."""
        return replace(self, limits=(), additions=(self.bare, *self.additions[1:]))


def read_wishes(spec: SpaceSpec, checkout: Checkout) -> Wishes:
    """The Space's requirements: what is installed first on the Hub, then the rest. Raises BadRequirements."""
    required = _joined([requirements.read(checkout.path, path) for path in _files(spec)])
    package = sdks.of(spec.sdk).package or ""
    pin = required.pin(package)
    version = spec.sdk_version or pin
    contradicted = pin if pin and version and not _same(pin, version) else None
    return Wishes(
        required=required,
        package=package,
        version=version,
        contradicted=contradicted,
        committed=(checkout.committed_at or "")[:10],
    )


def make(spec: SpaceSpec, wishes: Wishes, python: Python) -> Request:
    """The question for `python`."""
    facts = replace(wishes.facts, python=Version(python.version), imports=frozenset(spec.imports))
    rows = [row.requirement for row in compat.additions(facts)]
    kind = sdks.of(spec.sdk)
    added = kind.additions(replace(spec, sdk_version=wishes.version), wishes.required, python.version)
    said = {entry.name for entry in wishes.required.entries if entry.specifier or entry.url or entry.path}
    limits = [row.requirement for row in compat.constraints(facts) if _name(row.requirement) not in said]
    return Request(
        lines=wishes.required.lines,
        additions=tuple(dict.fromkeys([*added, *rows, "pip"])),
        limits=tuple(limits),
        constraints=wishes.required.constraints,
        prerelease=wishes.required.prerelease,
        builds=any(_must_build(entry) for entry in wishes.required.entries),
        own=_names_own_files(wishes.required),
        bare=kind.requirement(wishes.version, True),
        python=python,
    )


def dated_first(wishes: Wishes) -> bool:
    """Whether packages as of the Space's last commit come before today's."""
    return bool(wishes.committed) and compat.as_of_date_first(wishes.facts)


def placed_lines(lines: tuple[str, ...], root: Path, copies: dict[str, Path]) -> tuple[str, ...]:
    """`lines` with the Space's paths absolute: those in `copies` (projects) are there, the rest below `root`.

    Nothing is installed editable: an environment is shared and never changes.
    """
    placed = []
    for line in lines:
        plain = line.removeprefix("-e ")
        if plain == "." or plain.startswith(("./", ".[")):
            path, _, extras = plain.partition("[")
            relative = path.removeprefix("./").strip()
            where = copies.get(relative, root / relative)
            plain = f"{where}[{extras}" if extras else str(where)
        elif plain.startswith("--find-links ./"):
            plain = f"--find-links {root / plain.removeprefix('--find-links ./')}"
        placed.append(plain)
    return tuple(placed)


def projects(required: Requirements) -> tuple[str, ...]:
    """Paths of the projects and source archives of the Space that its requirements name."""
    return tuple(entry.path for entry in required.entries if entry.path and not entry.path.endswith(".whl"))


def key(request: Request, choice: compat.PythonChoice, wishes: Wishes, settings: Settings, driver: str) -> str:
    """A name for the question: equal questions have equal answers, but for what is released in between."""
    index = (settings.index_url, settings.extra_index_urls, settings.find_links)
    day = wishes.committed if dated_first(wishes) else ""
    machine = (driver, platform.machine())
    asked = [encode(request), encode(choice), wishes.version, wishes.contradicted, day, index, machine]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


def _files(spec: SpaceSpec) -> list[str]:
    return [path for path in (spec.pre_requirements, spec.requirements) if path]


def _joined(parts: list[Requirements]) -> Requirements:
    return Requirements(
        entries=tuple(entry for part in parts for entry in part.entries),
        options=tuple(dict.fromkeys(option for part in parts for option in part.options)),
        constraints=tuple(line for part in parts for line in part.constraints),
        prerelease=any(part.prerelease for part in parts),
    )


def _must_build(entry: Entry) -> bool:
    where = entry.path or entry.url.partition("#")[0]
    return bool(where) and not where.endswith(".whl")


def _names_own_files(required: Requirements) -> bool:
    entries = any(entry.path or entry.url.lower().startswith("file:") for entry in required.entries)
    return entries or any(option.startswith("--find-links ./") for option in required.options)


def _same(left: str, right: str) -> bool:
    return compat.version_of(left) == compat.version_of(right)


def _name(line: str) -> str:
    try:
        return canonicalize_name(Requirement(line).name)
    except InvalidRequirement:
        return canonicalize_name(re.split(r"[^A-Za-z0-9._-]", line)[0])
