"""The Python that the runner itself runs with: the kernel's where that will do, else one that uv brings.

Runs in the kernel, whose Python may be 3.8, with the standard library alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

NEEDED = (3, 11)
WANTED = ">=3.11,<3.14"  # what the pins of requirements.txt are for
# The package index and the certificates that pip is told about hold for uv as well, which has names of its own.
OF_PIP = (
    ("UV_DEFAULT_INDEX", "PIP_INDEX_URL", ""),
    ("UV_INDEX", "PIP_EXTRA_INDEX_URL", ""),
    ("UV_FIND_LINKS", "PIP_FIND_LINKS", ","),  # pip separates by spaces
    ("SSL_CERT_FILE", "PIP_CERT", ""),
)

if TYPE_CHECKING:  # Python 3.8 knows no types of this kind while it runs
    Say = Callable[[str], None]


class SetupFailed(RuntimeError):
    """The runner has no Python to run with. Says why, and what can be done."""


def bring(root: Path, extras: Sequence[str], environ: Mapping[str, str], say: Say) -> str:
    """An interpreter that can run the checkout at `root`, with these extras of its pyproject.toml. Raises SetupFailed.

    What is made is kept, and made anew only when the checkout's requirements change.
    """
    if suits(root, extras):
        return sys.executable
    folder = own_folder(environ) / "-".join(["runner", *extras])
    python, mark, wanted = folder / "bin" / "python", folder / "installed", _stamp(root)
    if mark.is_file() and mark.read_text() == wanted and _runs(python):
        return str(python)
    told = {**environ, **_index(environ)}
    uv = _uv(own_folder(environ), told, say)
    say("Making a Python environment for Spaces Runner; this kernel has Python {}.{} …".format(*sys.version_info))
    _run([uv, "venv", "--quiet", "--clear", "--python", WANTED, str(folder)], root, told)
    names = [word for extra in extras for word in ("--extra", extra)]
    pins = ["--constraint", "requirements.txt", "--index-strategy", "unsafe-best-match"]
    _run([uv, "pip", "install", "--quiet", "--python", str(python), *pins, *names, "-r", "pyproject.toml"], root, told)
    mark.write_text(wanted)
    return str(python)


def suits(root: Path, extras: Sequence[str]) -> bool:
    """Whether the kernel's own Python is new enough, and has every package in a version that will do."""
    if sys.version_info < NEEDED:
        return False
    try:
        import tomllib

        from packaging.requirements import Requirement
    except ImportError:
        return False
    with (root / "pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)["project"]
    more = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return all(_has(Requirement(line)) for line in (*project["dependencies"], *more))


def own_folder(environ: Mapping[str, str]) -> Path:
    """What the notebook makes for itself: on the machine's own disk, beside the user's other caches."""
    cache = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or "/tmp") / ".cache"
    return Path(cache) / "spaces-runner" / "notebook"


def _has(requirement: Any) -> bool:
    try:
        return bool(requirement.specifier.contains(metadata.version(requirement.name), prereleases=True))
    except metadata.PackageNotFoundError:
        return False


def _stamp(root: Path) -> str:
    files = (root / name for name in ("pyproject.toml", "requirements.txt"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _index(environ: Mapping[str, str]) -> dict[str, str]:
    said = {}
    for of_uv, of_pip, separator in OF_PIP:
        value = environ.get(of_pip, "")
        if value and not environ.get(of_uv):
            said[of_uv] = separator.join(value.split()) if separator else value
    return said


def _uv(folder: Path, environ: Mapping[str, str], say: Say) -> str:
    """uv as it is on the machine, or one that pip puts into `folder`."""
    found = shutil.which("uv", path=environ.get("PATH", os.defpath))
    own = folder / "uv" / "bin" / "uv"
    if found or own.is_file():
        return found or str(own)
    say("Fetching uv …")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--target", str(folder / "uv"), "uv"], None, environ)
    return str(own)


def _runs(python: Path) -> bool:
    """Python's own files may be gone with the machine that they were on."""
    try:
        return subprocess.run([str(python), "-I", "-c", ""], check=False, timeout=60).returncode == 0
    except OSError:
        return False


def _run(command: Sequence[str], folder: Path | None, environ: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise SetupFailed(
            f"{' '.join(command[:3])} failed:\n{done.stdout.strip()}\n"
            "hint: The package index and, where there is no newer Python here, GitHub must be in reach."
        )
