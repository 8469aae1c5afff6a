"""One question to uv, asked so that as little as possible of a Space's code runs."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from spaces_runner import compat
from spaces_runner.environment import hashes
from spaces_runner.environment.request import Request, placed_lines
from spaces_runner.environment.uv import RESOLVE_TIMEOUT_S, LineSink, Outcome, Uv
from spaces_runner.environment.workshop import Workshop
from spaces_runner.ownership import hand_over

HASHES_DIFFER = "error: The hashes in the requirements are not those of the packages' files"
NVIDIA = Path("/proc/driver/nvidia/version")

# uv's words for "this has no wheel, and I was told not to build".
_WANTS_BUILD = re.compile(r"no usable wheels|building from source is disabled|`--no-build`|building source", re.I)
_NO_INDEX = re.compile(r"error sending request|client error \(Connect\)|Failed to fetch|dns error|timed out", re.I)
_FETCH = re.compile(r"Failed to fetch: `?(\S+?)`?$", re.MULTILINE)
_TORCH_INDEX = re.compile(r"/whl/(?:cpu|cu\d|rocm|xpu)")  # how the addresses of torch's own builds look
_PINS_BUILD = re.compile(r"torch\w*\s*===?\s*[\w.]+\+\w", re.I)  # torch==2.1.0+cu118
_BUILD_FAILED = re.compile(r"Failed to (?:download and )?build|Failed to prepare|build backend returned", re.I)
_UNKNOWN = re.compile(
    rf"was not found in the package registry|Git operation failed|{re.escape(HASHES_DIFFER)}"
    r"|no version of (?:gradio|streamlit)(?:\[[\w,]*\])?==|there is no version of (\S+) and you require \1[,\s]",
    re.I,
)
_NO_DATE = re.compile(r"`([^`]+)` is missing an upload date")
_LEFT_OUT = re.compile(r"`([\w.-]+)` was filtered by `exclude-newer`|no versions? of ([\w.-]+)")
# A failure that another Python could cure.
_PYTHON_MATTERS = re.compile(
    rf"{_WANTS_BUILD.pattern}|Requires-Python|requires Python|python_requires|current Python|no wheels with a match"
    "|does not satisfy Python",
    re.I,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a question. `lock` is "" when there is no answer; `built` when the Space's code may have run."""

    lock: str
    outcome: Outcome
    built: bool = False
    torch_missed: bool = False  # the index of torch's builds for this machine was out of reach
    undated: frozenset[str] = frozenset()  # packages with files left out, since nobody says when they were uploaded

    @property
    def ok(self) -> bool:
        return bool(self.lock)

    @property
    def build_failed(self) -> bool:
        return not self.ok and bool(_BUILD_FAILED.search(self.outcome.text))

    @property
    def python_matters(self) -> bool:
        return not self.ok and bool(_PYTHON_MATTERS.search(self.outcome.text))

    @property
    def wants_build(self) -> bool:
        return not self.ok and bool(_WANTS_BUILD.search(self.outcome.text))

    @property
    def missed(self) -> frozenset[str]:
        """Those of them that the answer failed for."""
        names = {canonicalize_name("".join(found)) for found in _LEFT_OUT.findall(self.outcome.text)}
        return self.undated & names if not self.ok else frozenset()

    @property
    def hopeless(self) -> bool:
        """Whether asking in another way will not help: a package, version, file or repository is not there."""
        return not self.ok and bool(_UNKNOWN.search(self.outcome.text))

    @property
    def network_failed(self) -> bool:
        return not self.ok and bool(_NO_INDEX.search(self.outcome.text))

    @property
    def unreachable(self) -> str:
        """The address that nothing could be fetched from, or ""."""
        found = _FETCH.search(self.outcome.text) if self.network_failed else None
        return found[1] if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    lines: tuple[str, ...]
    request: Request
    before: str | None = None  # ISO 8601: packages as of that moment
    exempt: tuple[str, ...] = ()  # packages that the moment does not hold for: nobody knows when they were uploaded
    bounds: tuple[str, ...] = ()  # limits in its place


def ask(question: Question, shop: Workshop, *, wheels_only: bool = False) -> Answer:
    """The lock for `question`: from wheels alone where that does, else with the Space's user building what has none.

    Metadata of a source package is what its code says when it is run; so that is never done as the runner.
    """
    if not question.request.builds:
        answer = _with_torch(question, shop, shop.runners(), ("--no-build",))
        if wheels_only or not answer.wants_build:
            return answer
        shop.report.log("Some packages have no wheels; resolving again with source packages, as the Space's user")
    answer = _with_torch(question, shop, shop.spaces(), ())
    return replace(answer, built=True)


def compile_lock(lines: tuple[str, ...], options: tuple[str, ...], uv: Uv) -> Answer:
    """`uv pip compile` of `lines`, as a PEP 751 lock."""
    command = ("pip", "compile", "-", "--format", "pylock.toml", "--no-header", "--no-annotate", *options)
    undated: set[str] = set()
    asking = replace(uv, on_line=_sorting_out(uv.on_line, undated))
    outcome = asking.run(command, RESOLVE_TIMEOUT_S, stdin="\n".join(lines) + "\n")
    if not outcome.ok:
        return Answer(lock="", outcome=outcome, undated=frozenset(undated))
    if others := hashes.others(outcome.stdout, hashes.allowed(lines)):
        said = tuple(f"  cause: {other} is none of the files that the --hash lines allow." for other in others)
        return Answer(lock="", outcome=replace(outcome, code=1, lines=(HASHES_DIFFER, *said)))
    return Answer(lock=outcome.stdout, outcome=outcome)


def options(question: Question, shop: Workshop) -> tuple[str, ...]:
    """The switches that say which Python, which limits and which day."""
    request = question.request
    chosen = ["--python", request.python.path]
    files = (("limits", request.limits), ("constraints", request.constraints), ("bounds", question.bounds))
    for name, lines in files:
        if lines:
            chosen += ["--constraints", str(_file(shop.scratch / f"{name}.txt", lines))]
    if request.prerelease:
        chosen += ["--prerelease", "allow"]
    if question.before:
        chosen += ["--exclude-newer", question.before]
        for name in dict.fromkeys((*compat.undated(), *question.exempt)):
            chosen += ["--exclude-newer-package", f"{name}=false"]
    return tuple(chosen)


def lay_out(paths: tuple[str, ...], shop: Workshop) -> dict[str, Path]:
    """Copies of the Space's own projects for its user to build in: where each of `paths` is now."""
    source = shop.scratch / "src"
    shutil.rmtree(source, ignore_errors=True)
    copies = {}
    for number, path in enumerate(paths):
        original, folder = Path(shop.checkout.path, path), source / str(number)
        folder.mkdir(mode=0o700, parents=True)
        copies[path] = folder / original.name
        if original.is_dir():
            shutil.copytree(original, copies[path], symlinks=True, copy_function=_cheap_copy)
        else:
            shutil.copy2(original, copies[path])
        hand_over(copies[path], shop.user)  # while the folder is closed: its new owner cannot meddle
        folder.chmod(0o755)
    return copies


def placed(lines: tuple[str, ...], shop: Workshop, copies: dict[str, Path]) -> tuple[str, ...]:
    return placed_lines(lines, Path(shop.checkout.path), copies)


def _with_torch(question: Question, shop: Workshop, uv: Uv, extra: tuple[str, ...]) -> Answer:
    """First with the build of torch for this machine's driver; else from the indexes that are named alone.

    That is, where the index of builds is out of reach, or where the Space pins a build that is not this machine's: its
    author names the index that has it, and uv would not look there.
    """
    chosen = (*options(question, shop), *extra)
    backend = (*chosen, "--torch-backend", "auto")
    retries = {} if NVIDIA.exists() else {"UV_HTTP_RETRIES": "0"}  # without a GPU, any build of torch will do
    answer = compile_lock(question.lines, backend, replace(uv, variables=retries))
    missed = _missed_torch(answer)
    if retries and answer.network_failed and not missed:  # any other index is asked as often as always
        answer = compile_lock(question.lines, backend, uv)
        missed = _missed_torch(answer)
    if answer.ok or not (missed or any(map(_PINS_BUILD.match, question.lines))):
        return answer
    if missed:
        shop.report.log("The index of torch's builds is out of reach; taking torch from the package index")
    else:
        shop.report.log("The build of torch that the Space pins is not this machine's; asking the indexes it names")
    plain = compile_lock(question.lines, chosen, uv)
    if not missed and not plain.ok:
        return answer
    return replace(plain, torch_missed=missed)


def _missed_torch(answer: Answer) -> bool:
    """Whether it is the index of torch's builds that could not be reached."""
    return answer.network_failed and bool(_TORCH_INDEX.search(answer.outcome.text))


def _sorting_out(tell: LineSink, undated: set[str]) -> LineSink:
    """`tell`, but for a line on each file of an index without dates: of these, which may be thousands, the packages."""

    def sort_out(line: str) -> None:
        if found := _NO_DATE.search(line):
            undated.add(_package_of(found[1]))
        else:
            tell(line)

    return sort_out


def _package_of(file: str) -> str:
    """The package that a file of an index is of."""
    try:
        name = parse_wheel_filename(file)[0] if file.endswith(".whl") else parse_sdist_filename(file)[0]
    except (InvalidWheelFilename, InvalidSdistFilename):
        name = canonicalize_name(file.partition("-")[0])
    return str(name)


def _file(path: Path, lines: tuple[str, ...]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o644)
    return path


def _cheap_copy(source: str, target: str) -> str:
    """Large files as hard links, which nobody but their owner can write: weights are not copied."""
    if os.stat(source).st_size > 1024**2:  # noqa: PTH116  # shutil hands plain strings
        os.link(source, target)
        return target
    return str(shutil.copy2(source, target))
