"""What the owner should know before a Space is started: one function per kind of finding. Pure but for the LFS look."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from spaces_runner.detect.frontmatter import FrontMatter
from spaces_runner.detect.scan import Facts
from spaces_runner.distributions import missing_imports, providers
from spaces_runner.requirements import Requirements
from spaces_runner.sanitize import clean_line
from spaces_runner.types import Finding, RunOptions, Sdk, Severity

MAX_SMALL_FILES = 3000  # looked into for LFS pointers
POINTER = b"version https://git-lfs.github.com/spec/v1"
POINTER_BYTES = 1024

# Variables that the Hub, the runner or the system sets, or whose absence is no secret's.
_BUILT_IN = re.compile(
    r"(?!SPACE_CREATOR_USER_ID$)"  # the Hub's own, which nobody else can tell
    r"(?:SPACE|GRADIO|CUDA|NVIDIA|PYTHON|OAUTH|TORCH|OMP|MKL|NCCL|HF_HUB|LC|XDG|STREAMLIT|UVICORN|VIRTUAL_ENV)(?:_\w*)?"
    r"|HOME|PATH|USER|LOGNAME|PWD|TMPDIR|TEMP|TMP|LANG|TZ|SHELL|HOSTNAME|PORT|HOST|SYSTEM|TERM|DISPLAY|EDITOR"
    r"|ACCELERATOR|CPU_CORES|MEMORY|HF_HOME|HF_ENDPOINT|TRANSFORMERS_CACHE|OPENID_PROVIDER_URL|LD_LIBRARY_PATH"
    r"|RANK|LOCAL_RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT|DEBIAN_FRONTEND|KAGGLE_KERNEL_RUN_TYPE|APPDATA|USERPROFILE"
)
_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_TRUE = frozenset({"true", "yes", "on", "1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the findings are about."""

    root: Path
    meta: FrontMatter
    sdk: Sdk
    sdk_version: str | None
    options: RunOptions
    facts: Facts
    required: Requirements | None


def findings(view: View) -> tuple[Finding, ...]:
    """Everything worth saying about `view`, warnings first."""
    found = [finding for rule in _RULES for finding in rule(view)]
    return tuple(sorted(found, key=lambda finding: finding.severity is Severity.INFO))


def missing_variables(facts: Facts, options: RunOptions) -> frozenset[str]:
    """The variables that the code cannot do without, and that neither the owner, the code nor the Hub sets."""
    given = {*options.variables, *options.secret_names}
    return frozenset(name for name in facts.required if not _is_set(name, facts) and name not in given)


def _is_set(name: str, facts: Facts) -> bool:
    return name in facts.provided or _BUILT_IN.fullmatch(name) is not None


# The findings


def _secrets(view: View) -> Iterator[Finding]:
    for name in sorted(missing_variables(view.facts, view.options)):
        yield Finding(
            code="missing-secret",
            severity=Severity.WARNING,
            message=f"The code reads the variable {name} and fails without it ({view.facts.required[name]}).",
            remedy=f"Set it with --secret {name}=… (or --env {name}=… when it is nothing secret).",
        )


def _optional_secrets(view: View) -> Iterator[Finding]:
    given = {*view.options.variables, *view.options.secret_names, *view.facts.required}
    names = [name for name in sorted(view.facts.optional) if _SECRET.search(name) and name not in given]
    names = [name for name in names if not _is_set(name, view.facts)]
    if names:
        yield Finding(
            code="optional-secret",
            severity=Severity.INFO,
            message=f"The code looks for {', '.join(names[:8])} and may do less without.",
            remedy=f"Set what you have with --secret {names[0]}=….",
        )


def _imports(view: View) -> Iterator[Finding]:
    if view.required is None or view.sdk not in (Sdk.GRADIO, Sdk.STREAMLIT):
        return
    if any(not entry.name for entry in view.required.entries):
        return  # a repository or folder is installed: what it brings, only building it would tell
    names = {*view.required.names, *(["streamlit"] if view.sdk is Sdk.STREAMLIT else [])}
    missing = missing_imports(sorted(view.facts.imports), names)
    if missing:
        listed = ", ".join(f"{name} ({view.facts.imports[name]})" for name in missing[:8])
        packages = " ".join(providers(name)[0] for name in missing[:8])
        yield Finding(
            code="unlisted-import",
            severity=Severity.WARNING,
            message=f"The code imports what requirements.txt does not name: {listed}.",
            remedy=f"If the app fails on it, add to requirements.txt: {packages}.",
        )


def _oauth(view: View) -> Iterator[Finding]:
    if str(view.meta.get("hf_oauth", "")).lower() in _TRUE:
        yield Finding(
            code="hub-login",
            severity=Severity.WARNING,
            message="The Space signs its users in through the Hub (hf_oauth), which works on the Hub only.",
            remedy="Here Gradio's login button signs everybody in as `visitor`, or as the owner of --secret HF_TOKEN.",
        )


def _zero_gpu(view: View) -> Iterator[Finding]:
    place = view.facts.zero_gpu
    if place is not None:
        yield Finding(
            code="zero-gpu",
            severity=Severity.INFO,
            message=f"The Space was written for ZeroGPU ({place}): its models stay in this GPU's memory all along.",
            remedy="Where memory runs out, stop other Spaces or choose a larger GPU with --gpu.",
        )


def _old_gradio(view: View) -> Iterator[Finding]:
    version = view.sdk_version or (view.required.pin("gradio") if view.required else None)
    if view.sdk is Sdk.GRADIO and view.options.share and version and _older(version, "5"):
        yield Finding(
            code="old-gradio-shared",
            severity=Severity.WARNING,
            message=f"Gradio {version} has known holes through which a stranger with the link can read files "
            "(CVE-2023-51449, CVE-2024-1561, CVE-2024-1728, CVE-2024-47167).",
            remedy="Share the link only with people you trust, or launch with --no-share.",
        )


def _older(version: str, than: str) -> bool:
    try:
        return Version(version) < Version(than)
    except InvalidVersion:
        return False


def _hub_paths(view: View) -> Iterator[Finding]:
    if view.facts.hub_paths:
        path, place = next(iter(view.facts.hub_paths.items()))
        yield Finding(
            code="hub-path",
            severity=Severity.INFO,
            message=f"The code uses {clean_line(path)}, a folder of the Hub's machine ({place})."
            " What Python opens there is the Space's own folder here.",
            remedy="What a library opens by itself is not found there: give it a relative path, or one from HOME.",
        )


def _unreadable(view: View) -> Iterator[Finding]:
    for path, why in sorted(view.facts.unreadable.items())[:3]:
        yield Finding(
            code="unreadable-source",
            severity=Severity.WARNING,
            message=f"{path} cannot be read as Python 3: {clean_line(why)[:200]}. What it needs is not known.",
        )


def _lfs_pointers(view: View) -> Iterator[Finding]:
    paths = sorted(path.relative_to(view.root).as_posix() for path in pointers(view.root))
    if paths:
        yield Finding(
            code="lfs-pointer",
            severity=Severity.WARNING,
            message=f"{len(paths)} file(s) are Git LFS pointers, not the files themselves: {', '.join(paths[:4])}.",
            remedy="Fetch them with `git lfs pull` in the directory, or launch the Space by its name.",
        )


def pointers(root: Path) -> Iterator[Path]:
    """The files under `root` that are Git LFS pointers."""
    looked = 0
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in (".git", "node_modules", "__pycache__")]
        for name in files:
            path = Path(folder, name)
            with suppress(OSError):  # a file that is gone, or not ours to read
                if looked < MAX_SMALL_FILES and not path.is_symlink() and 100 <= path.stat().st_size <= POINTER_BYTES:
                    looked += 1
                    if _begins(path) == POINTER:
                        yield path


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(POINTER))


_RULES: tuple[Callable[[View], Iterator[Finding]], ...] = (
    _secrets,
    _lfs_pointers,
    _imports,
    _old_gradio,
    _oauth,
    _unreadable,
    _zero_gpu,
    _optional_secrets,
    _hub_paths,
)
