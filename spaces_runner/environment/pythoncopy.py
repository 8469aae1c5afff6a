"""Copies an interpreter out of a directory that only its owner may enter (pyenv in a root home, say).

A Space runs as a user of its own, who could not even start the original.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

from spaces_runner.settings import Settings

CHECK_TIMEOUT_S = 30.0
COMPILE_TIMEOUT_S = 300.0

# Folders nobody needs at run time: the standard library's tests, examples, documents and its third-party packages.
_SKIPPED = {"test", "tests", "idle_test", "idlelib", "turtledemo", "site-packages", "share", "lib2to3/tests"}


def copy(path: str, prefix: str, version: str, settings: Settings) -> Path | None:
    """A copy of the interpreter `path` (its files are below `prefix`) under `settings.pythons_dir`, made once.

    None when the copy does not run as another user. Takes a few seconds and some 100 MB the first time.
    """
    mark = hashlib.sha256(f"{path}|{Path(path).stat().st_mtime_ns}".encode()).hexdigest()[:8]
    target = settings.pythons_dir / f"copy-{version}-{mark}"
    executable = target / "bin" / f"python{'.'.join(version.split('.')[:2])}"
    if executable.exists():
        return executable
    if Path(prefix) in (Path("/"), Path("/usr"), Path("/usr/local")):
        return None  # a whole system is no interpreter
    settings.pythons_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    with FileLock(settings.pythons_dir / f".{target.name}.lock"):
        if not executable.exists():
            _make(Path(prefix), target, executable.name, settings)
    return executable if executable.exists() else None


def is_copy(prefix: str) -> bool:
    """Whether the interpreter below `prefix` is one that `copy` made."""
    return Path(prefix).name.startswith("copy-")


def _make(prefix: Path, target: Path, name: str, settings: Settings) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o755)
    for folder in ("bin", "lib", "include"):
        if (prefix / folder).is_dir():
            shutil.copytree(prefix / folder, part / folder, symlinks=True, ignore=_ignored)
    _open_up(part)
    python = part / "bin" / name
    _find_library_beside(python, prefix)
    # Byte code of the original stays valid (times are kept); where there is none, nobody else could write it.
    _run([str(python), "-I", "-m", "compileall", "-q", "-j", "0", str(part / "lib")], COMPILE_TIMEOUT_S)
    if _runs_for_others(python, settings):
        part.rename(target)
    else:
        shutil.rmtree(part, ignore_errors=True)


def _find_library_beside(python: Path, prefix: Path) -> None:
    """Let the program look for libpython in its own copy: the path that is built in leads into the closed directory.

    The entry in the file's string table is replaced in place, which works as the new one is never longer.
    """
    built_in, beside = os.fsencode(prefix / "lib") + b"\0", b"$ORIGIN/../lib\0"
    program = python.read_bytes()
    if built_in in program and len(beside) <= len(built_in):
        real = python.resolve()
        real.write_bytes(program.replace(built_in, beside.ljust(len(built_in), b"\0")))


def _ignored(folder: str, names: list[str]) -> set[str]:
    skipped = {name for name in names if name in _SKIPPED or name.endswith((".a", ".opt-1.pyc", ".opt-2.pyc"))}
    if Path(folder).name == "bin":  # console scripts of the packages that stay behind
        skipped |= {name for name in names if not name.startswith("python")}
    return skipped


def _open_up(root: Path) -> None:
    """Readable for all, writable for none but us."""
    for folder, _, files in os.walk(root):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)


def _runs_for_others(python: Path, settings: Settings) -> bool:
    """Whether a user without rights can start it and load what is compiled into shared objects."""
    return _run([str(python), "-I", "-c", "import ctypes, math, socket, zlib"], CHECK_TIMEOUT_S, settings.uid_base)


def _run(command: list[str], timeout_s: float, uid: int | None = None) -> bool:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={"LANG": "C.UTF-8"},
            cwd="/",
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
