"""uv's account of a failure -> an error for people: what does not fit, in uv's own words, and what to do."""

from __future__ import annotations

import re

from spaces_runner.environment.attempt import Answer
from spaces_runner.environment.request import Request, Wishes, projects
from spaces_runner.environment.uv import Outcome
from spaces_runner.errors import BuildError, PackagesTooLarge, RunnerError, Unresolvable, WheelBuildFailed

MAX_LINES = 30

_NOISE = re.compile(r"^(warning:|hint: Wheels are required|\s*$|Resolved |Using Python|\s*(?:Downloading|Downloaded) )")
_BUILDING = re.compile(r"Failed to (?:download and )?build [`']?([^`'\n]+?)[`']?$", re.M)
_UNKNOWN = re.compile(r"Because ([\w.-]+) was not found in the package registry")
# Where `attempt.lay_out` copies the Space's projects to.
_COPY = re.compile(r"(?:file://)?/[^\s`']*?/src/(\d+)/[^\s`'/]+")
# The frames that lead to a setup.py: of uv's own script, of the backend's modules, then of what it runs as a string.
_BACKEND = re.compile(
    r"""(?P<begin> Traceback\ \(most\ recent\ call\ last\):\n)
        (?:\ *File\ "<string>",.*\n)?
        (?:(?P<indent>\ *)File\ "[^"\n]*/builds-v\d+/.*\n (?:(?P=indent)\ +.*\n)*)+
        (?P<own> \ *File\ "<string>")?""",
    re.VERBOSE,
)

# What a failed build says, and what to do about it.
_BUILD_HINTS = (
    (r"nvcc|CUDA_HOME", "It compiles for CUDA: install the CUDA toolkit, or name a wheel of it for this Python."),
    (r"(?:gcc|g\+\+|cc|clang)\b.*(?:not found|No such file)|Unknown compiler", "Install a compiler: build-essential."),
    (r"Python\.h", "Python's headers are missing: install python3-dev, or choose another Python with --python."),
    (r"\b(?:cargo|rustc?)\b", "It needs Rust (https://rustup.rs), or a Python for which it has wheels: --python."),
    (r"\bcmake\b", "Install cmake."),
    (r"No module named 'torch'", "It needs torch while it is built, which isolated builds cannot see; name a wheel."),
    (r"No module named 'pkg_resources'|No module named 'distutils'", "It is too old for this Python: try --python."),
    (
        r"No module named '",
        "It imports what isolated builds cannot see: its pyproject.toml must name that in build-system.requires.",
    ),
)
_FULL = re.compile(r"No space left on device|Disk quota exceeded|\(os error (?:28|122)\)")


def too_large(message: str, lines: tuple[str, ...] = ()) -> PackagesTooLarge:
    """The error for a disk that is full, or would be."""
    hint = "Make room (spaces-runner prune), or move the state with SPACES_RUNNER_HOME to a larger disk."
    return PackagesTooLarge(message, hint=hint, lines=lines)


def install_failure(outcome: Outcome) -> RunnerError:
    """The error for packages that were resolved and could not be installed."""
    lines = reason(outcome.lines)
    if _FULL.search(outcome.text):
        return too_large("The disk was full before all packages were installed.", lines)
    hint = "Check the network and launch again: what arrived is kept."
    return BuildError("The packages could not be installed.", hint=hint, lines=lines)


def failure(answer: Answer, wishes: Wishes, request: Request) -> RunnerError:
    """The error for a question that no rung could answer."""
    lines = reason(answer.outcome.lines)
    text = answer.outcome.text
    if _FULL.search(text):
        return too_large("The disk was full while the requirements were resolved.", lines)
    if answer.outcome.timed_out:
        return Unresolvable("Resolving the requirements took too long.", hint="Pin more versions.", lines=lines)
    if answer.network_failed:
        return Unresolvable(
            "The package index could not be reached.",
            hint="Check the network, or name an index with PIP_INDEX_URL and try again.",
            lines=lines,
        )
    if "Git operation failed" in text:
        return Unresolvable(
            "A repository among the requirements could not be fetched.",
            hint="Check its address in requirements.txt; private repositories are out of a Space's reach.",
            lines=lines,
        )
    if answer.build_failed:
        return build_failure(text, lines, projects(wishes.required))
    if unknown := _UNKNOWN.search(text):
        return Unresolvable(
            f"The requirements name {unknown.group(1)}, which the package index does not have.",
            hint="Correct its name in requirements.txt, or name the index that has it with PIP_EXTRA_INDEX_URL.",
            lines=lines,
        )
    if re.search(rf"no version of {wishes.package}(?:\[[\w,]*\])?=={re.escape(wishes.version or '-')} ", text):
        return Unresolvable(
            f"There is no {wishes.package.title()} {wishes.version} on the package index.",
            hint=f"Correct sdk_version in README.md; `pip index versions {wishes.package}` lists what there is.",
            lines=lines,
        )
    served = f" with {wishes.package.title()} {wishes.version}" if wishes.version else ""
    return Unresolvable(
        f"The requirements do not fit together{served} on Python {request.python.version}.",
        hint="The lines say which pins are at odds. Loosen one in requirements.txt, or try another --python.",
        lines=lines,
    )


def build_failure(text: str, lines: tuple[str, ...], own: tuple[str, ...]) -> RunnerError:
    """The error for a package that could not be built. `own` are the projects of the Space that were to be built."""
    if _FULL.search(text):
        return too_large("The disk was full while a package was built from source.", lines)
    match = _BUILDING.search(text)
    brought = _brought(match.group(1) if match else "", own)
    hint = next((hint for pattern, hint in _BUILD_HINTS if re.search(pattern, text, re.I)), "")
    if brought:
        return WheelBuildFailed(
            f"{brought}, which the Space brings itself, could not be built.",
            hint=hint or "The lines say why. Correct it in the Space, or take it out of its requirements.txt.",
            lines=tuple(_told_of_copies(line, own) for line in without_backend(lines)),
        )
    name = match.group(1).split(" @ ")[0] if match else "A package"
    return WheelBuildFailed(
        f"{name} has no wheel for this machine and could not be built from source.",
        hint=hint or "Choose a Python for which it has wheels (--python), or a version of it that has some.",
        lines=lines,
    )


def without_backend(lines: tuple[str, ...]) -> tuple[str, ...]:
    """`lines` without how the build backend came to run the project: a traceback begins where the project does."""

    def kept(frames: re.Match[str]) -> str:
        return frames["begin"] + (frames["own"] or "").replace("<string>", "setup.py")

    return tuple(_BACKEND.sub(kept, "\n".join(lines), count=1).splitlines())


def _brought(named: str, own: tuple[str, ...]) -> str:
    """Which of the Space's projects uv means. It names none where the project could not even say what it needs."""
    told = _told_of_copies(named, own)
    if told != named:
        return told.rpartition(" @ ")[2]
    return "" if named else " or ".join(map(_written, own))


def _told_of_copies(line: str, own: tuple[str, ...]) -> str:
    """With the paths that the owner knows in place of those of the copies that were built."""
    paths = {str(number): _written(path) for number, path in enumerate(own)}
    return _COPY.sub(lambda copy: paths.get(copy.group(1), copy.group()), line)


def _written(path: str) -> str:
    """`path` as requirements name it."""
    return path if path == "." else f"./{path}"


def reason(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Of uv's output, the lines that say why: from its `error:` on, the middle left out where it is long."""
    kept = [line for line in lines if not _NOISE.match(line)]
    start = next((number for number, line in enumerate(kept) if re.match(r"error|\s+cause", line)), 0)
    kept = kept[start:]
    if len(kept) > MAX_LINES:
        kept = [*kept[:5], "…", *kept[5 - MAX_LINES :]]
    return tuple(kept)
