"""SpaceSpec and requirements files -> what a resolver is asked for. Reads files of the checkout, runs nothing."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from spaces_runner import compat, pysource, requirements, sdks
from spaces_runner.codec import encode
from spaces_runner.compat import Facts, Row
from spaces_runner.environment.pythons import Python
from spaces_runner.requirements import Entry, Requirements
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, SpaceSpec

MAX_CODE_FILES: Final = 50  # of a Space that are searched for wheels they name


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a Space's files ask for, before anything is known of the Python."""

    required: Requirements
    first: frozenset[str]  # origins of the lines of pre-requirements.txt, which the Hub installs before the others
    package: str  # what the Space is written for: "gradio" or "streamlit"
    version: str | None  # the version of it that decides: sdk_version, else the requirements' pin
    contradicted: str | None  # the requirements' pin where it is not sdk_version's
    likely: Version  # that version; where none is named, the newest that was out and is allowed
    committed: str  # "2024-05-31", or ""
    imports: frozenset[str] = frozenset()

    def without_sdk(self) -> tuple[str, ...]:
        """The requirements but for what the Space is written for; of a package named twice the later line counts."""
        last = {entry.name for entry in self.required.entries if entry.origin not in self.first}
        kept = [
            entry.line
            for entry in self.required.entries
            if entry.name != self.package and not (entry.origin in self.first and entry.name in last and entry.name)
        ]
        return (*self.required.options, *kept)

    @property
    def title(self) -> str:
        """What the Space is written for, with its version, for people."""
        return f"{self.package.capitalize()} {self.version}" if self.version else self.package.capitalize()

    def facts(self, python: Python | None = None) -> Facts:
        """What the compatibility rows are chosen by."""
        return Facts(
            gradio=self.likely if self.package == "gradio" else None,
            streamlit=self.likely if self.package == "streamlit" else None,
            named=self.version is not None,
            python=Version(python.version) if python else None,
            imports=self.imports,
            committed=self.committed,
        )


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
    held: tuple[Row, ...] = ()  # those of the limits that its age asks for
    overruled: tuple[Row, ...] = ()  # and those that the Space's own requirements leave no room for
    bare: str = ""  # the first of the additions without extras

    def relaxed(self) -> Request:
        """Without our limits and Gradio's extras: nearer to what the author tried."""
        return replace(self, limits=(), additions=(self.bare, *self.additions[1:]))


def read_wishes(spec: SpaceSpec, checkout: Checkout) -> Wishes:
    """The Space's requirements: what is installed first on the Hub, then the rest. Raises BadRequirements."""
    package = sdks.of(spec.sdk).package or ""
    parts = [requirements.read(checkout.path, path) for path in _files(spec)]
    required = _joined(parts)
    pin = required.pin(package)
    version = spec.sdk_version or pin
    committed = (checkout.committed_at or "")[:10]
    named = version and compat.version_of(version) != compat.NEWEST
    return Wishes(
        required=required,
        first=frozenset(entry.origin for entry in parts[0].entries) if spec.pre_requirements else frozenset(),
        package=package,
        version=version,
        contradicted=pin if pin and version and not _same(pin, version) else None,
        likely=compat.version_of(version)
        if named
        else compat.likely_version(package, required.specifier(package), committed),
        committed=committed,
        imports=frozenset(spec.imports),
    )


def make(spec: SpaceSpec, wishes: Wishes, python: Python) -> Request:
    """The question for `python`."""
    facts, kind = wishes.facts(python), sdks.of(spec.sdk)
    added = kind.additions(replace(spec, sdk_version=wishes.version), wishes.required, python.version)
    rows = [row.requirement for row in compat.additions(facts)]
    limits = compat.constraints(facts)
    fitting = fitted(tuple(row.requirement for row in limits), wishes.required)
    return Request(
        lines=wishes.required.lines,
        additions=tuple(dict.fromkeys([*added, *rows, "pip"])),
        limits=fitting,
        constraints=wishes.required.constraints,
        prerelease=wishes.required.prerelease,
        builds=any(_must_build(entry) for entry in wishes.required.entries),
        own=_names_own_files(wishes.required),
        python=python,
        held=tuple(row for row in limits if row.aged and row.requirement in fitting),
        overruled=tuple(row for row in limits if row.aged and row.requirement not in fitting),
        bare=kind.requirement(wishes.version, True),
    )


def fitted(limits: tuple[str, ...], required: Requirements) -> tuple[str, ...]:
    """Those of `limits` that the requirements leave room for: what a Space asks for by name comes first."""
    return tuple(line for line in limits if not any(_overrules(entry, line) for entry in required.entries))


def mentions(spec: SpaceSpec, checkout: Checkout) -> Iterator[str]:
    """Where wheels may be named besides in the requirements: the Space's files, and code that may install them."""
    paths = [file.path for file in checkout.files]
    yield from (path for path in paths if path.endswith(".whl"))
    code = [spec.app_file, *(path for path in paths if path.endswith(".py"))]
    for path in list(dict.fromkeys(code))[:MAX_CODE_FILES]:
        try:
            yield pysource.read(Path(checkout.path, path)).text
        except pysource.Unreadable:
            continue


def dated_first(wishes: Wishes) -> str:
    """Why packages as of the Space's last commit come before today's; "" where they do not."""
    return compat.as_of_date_first(wishes.facts()) if wishes.committed else ""


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


def _overrules(entry: Entry, limit: str) -> bool:
    """Whether `entry` is of the package that `limit` is of, and asks for what it forbids."""
    name = _name(limit)
    if entry.name != name:
        return False
    return bool(entry.url or entry.path) or compat.at_odds(entry.specifier, str(Requirement(limit).specifier))


def _name(line: str) -> str:
    try:
        return canonicalize_name(Requirement(line).name)
    except InvalidRequirement:
        return canonicalize_name(re.split(r"[^A-Za-z0-9._-]", line)[0])
