"""A Python version -> an interpreter of it that every user of this machine can run.

Looks at what is there (installed by uv, by the system, by pyenv), copies what only root could reach, and lets uv
fetch what is missing. Knows nothing of Spaces.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces_runner.codec import decode, encode
from spaces_runner.environment import pythoncopy, uv
from spaces_runner.errors import PythonMissing
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings

PROBE_TIMEOUT_S = 20.0
FETCH_TIMEOUT_S = 300.0

# Answers for the interpreter itself, also where it was started as a virtual environment's or through a pyenv shim.
_PROBE = """
import importlib.util, json, os, sys
x = "%d.%d" % sys.version_info[:2]
exe = os.path.join(sys.base_prefix, "bin", "python" + x)
if not os.path.exists(exe):
    exe = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps({
    "path": os.path.realpath(exe),
    "version": "%d.%d.%d" % sys.version_info[:3],
    "prefix": os.path.realpath(sys.base_prefix),
    "tag": "%s-%s" % (sys.implementation.cache_tag, importlib.util.MAGIC_NUMBER.hex()),
    "final": sys.version_info[3] == "final" and sys.implementation.name == "cpython",
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """An interpreter. `tag` names its byte code format; two with the same tag read each other's .pyc files."""

    path: str
    version: str  # "3.11.7"
    prefix: str
    tag: str
    final: bool = True

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


def find(version: str, settings: Settings, report: Reporter | None = None, *, fetch: bool = True) -> Python:
    """An interpreter of `version` ("3.11" or "3.11.7"; an exact one that is missing gives its minor version).

    With `fetch`, uv may download it. Raises PythonMissing, naming what there is, when there is none.
    """
    minor = minor_of(version)
    found = [python for python in installed(settings) if python.minor == minor]
    if not found and fetch and (fetched := _fetch(minor, settings, report or Reporter())):
        found = [fetched]
    for python in _ranked(found, version):
        if usable := _usable(python, settings):
            return usable
    raise _missing(version, settings)


def installed(settings: Settings) -> tuple[Python, ...]:
    """Every CPython on this machine that answers, best places first."""
    known = _Known.load(settings)
    found: dict[str, Python] = {}
    for candidate in _candidates(settings):
        if python := known.ask(candidate):
            found.setdefault(python.path, python)
    known.save()
    return tuple(python for python in found.values() if python.final)


def exists(version: str, settings: Settings) -> bool:
    """Whether uv knows of any release of the minor version of `version`, here or elsewhere. Asks no network."""
    runner = uv.Uv(settings=settings, room=uv.own_room(settings, settings.home_dir), on_line=lambda _: None)
    listing = ("python", "list", "--only-downloads", "--offline", "--output-format", "json", minor_of(version))
    listed = runner.run(listing, PROBE_TIMEOUT_S)
    return listed.ok and bool(json.loads(listed.stdout or "[]"))


def describe(path: str, settings: Settings) -> Python:
    """What is known of the interpreter at `path`. Raises PythonMissing when it is gone or does not answer."""
    known = _Known.load(settings)
    python = known.ask(Path(path))
    known.save()
    if python is None:
        raise PythonMissing(f"The interpreter {path} is gone.", hint="Launch again: another one is looked for.")
    return python


def minor_of(version: str) -> str:
    """3.11 of 3.11 and of 3.11.7. Raises PythonMissing for what is no version."""
    match = re.fullmatch(r"(3\.\d+)(?:\.\d+)?", version.strip())
    if not match:
        raise PythonMissing(
            f"{version!r} is no Python version that can be looked for.", hint="Give one like 3.11 with --python."
        )
    return match.group(1)


def _ranked(pythons: list[Python], version: str) -> list[Python]:
    """The exact version first, then those that need no copy, then the newest.

    A copy comes last: one that was made for an exact version must not change what its minor version means.
    """

    def rank(python: Python) -> tuple[bool, bool, bool, tuple[int, ...]]:
        is_copy = pythoncopy.is_copy(python.prefix)
        return python.version == version, _open(python) and not is_copy, is_copy, _numbers(python.version)

    return sorted(pythons, key=rank, reverse=True)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _open(python: Python) -> bool:
    return os.geteuid() != 0 or uv.open_to_all(Path(python.path))


def _usable(python: Python, settings: Settings) -> Python | None:
    """`python` itself where every user can run it, else a copy; None when not even the copy runs as another user."""
    if _open(python):
        return python
    copy = pythoncopy.copy(python.path, python.prefix, python.version, settings)
    if copy is None:
        return None
    known = _Known.load(settings)
    answer = known.ask(copy)
    known.save()
    return answer


def _candidates(settings: Settings) -> Iterator[Path]:
    """Files that may be interpreters: uv's and our copies, pyenv's, the system's."""
    if settings.pythons_dir.is_dir():
        for root in sorted(settings.pythons_dir.iterdir()):
            if not root.name.startswith(".") and not root.is_symlink():
                yield from _named(root / "bin")
    for folder in (*settings.python_dirs, *settings.path.split(":")):
        if folder:
            yield from _named(Path(folder))


def _named(folder: Path) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        # A script that is called python is a shim: it answers for a version that depends on where it is called.
        if re.fullmatch(r"python3\.\d+", path.name) and os.access(path, os.X_OK) and not _is_script(path):
            yield path


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


@dataclass(slots=True)
class _Known:
    """What interpreters answered before, by file: one that has not changed is not asked again."""

    file: Path
    answers: dict[str, dict[str, Any] | None]
    changed: bool = False

    @classmethod
    def load(cls, settings: Settings) -> _Known:
        file = settings.home_dir / "pythons.json"
        try:
            answers = json.loads(file.read_text())
        except (OSError, ValueError):
            answers = {}
        return cls(file=file, answers=answers if isinstance(answers, dict) else {})

    def ask(self, path: Path) -> Python | None:
        try:
            real = path.resolve(strict=True)
            status = real.stat()
        except OSError:
            return None
        key = f"{real}|{status.st_mtime_ns}|{status.st_size}"
        if key not in self.answers:
            self.answers[key] = _probe(real)
            self.changed = True
        answer = self.answers[key]
        return decode(Python, answer) if answer else None

    def save(self) -> None:
        if not self.changed:
            return
        self.file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        part = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        part.write_text(json.dumps(self.answers))
        part.replace(self.file)


def _probe(path: Path) -> dict[str, Any] | None:
    """What the interpreter says of itself; None for anything that is none."""
    try:
        answer = subprocess.run(
            [str(path), "-I", "-c", _PROBE],
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
            env={"LANG": "C.UTF-8"},
            cwd="/",
        )
        return dict(encode(decode(Python, json.loads(answer.stdout))))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None


def _fetch(minor: str, settings: Settings, report: Reporter) -> Python | None:
    """The newest `minor` as uv installs it; None where it cannot be had, or the owner wants nothing fetched."""
    if not settings.python_downloads:
        report.log(f"Python {minor} is not on this machine, and is not to be fetched (UV_PYTHON_DOWNLOADS)")
        return None
    report.log(f"Python {minor} is not on this machine; asking uv to fetch it")
    settings.pythons_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    runner = uv.Uv(settings=settings, room=uv.own_room(settings, settings.home_dir), on_line=report.log)
    outcome = runner.run(("python", "install", "--no-bin", minor), FETCH_TIMEOUT_S)
    if not outcome.ok:
        return None
    return next((python for python in installed(settings) if python.minor == minor), None)


def _missing(version: str, settings: Settings) -> PythonMissing:
    there = ", ".join(sorted({python.version for python in installed(settings)}, key=_numbers)) or "none"
    return PythonMissing(
        f"Python {version} is not on this machine and could not be fetched.",
        hint=f"There is: {there}. Choose one of them with --python, or install it: uv python install {version}",
    )
