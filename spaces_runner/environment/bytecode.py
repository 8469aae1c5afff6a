"""Byte code for an environment, written once for all environments that hold the same file.

uv hard-links a package's files from its cache, so the same source is one inode in every environment. Its byte code
is kept beside that cache under a name made of the source's identity and hard-linked in the same way: it costs neither
time nor disk twice. (Python puts the right file name into the code when it imports it.)
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.environment.pythons import Python
from spaces_runner.process import readable

COMPILE_TIMEOUT_S = 900.0
_TESTS = {"tests", "test", "__pycache__"}  # a third of all files, and hardly ever imported

# Told of the modules that have their byte code, of all.
Told = Callable[[int, int], None]

# Reads "source<TAB>name" lines. `name` is where the source will be; what cannot be compiled is left to the app.
# Writes one byte for each.
_COMPILER = """
import os, py_compile, sys
for line in sys.stdin:
    source, name = line.rstrip("\\n").split("\\t")
    try:
        py_compile.compile(source, dfile=name, doraise=True)
    except Exception:
        pass
    os.write(1, b".")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How many files got their byte code from the store, and how many were compiled."""

    linked: int
    compiled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    path: str
    target: str  # of its .pyc
    kept: str  # where the store has it, "" for a file that is in one environment only


def write(site: Path, final: Path, python: Python, store: Path, told: Told) -> Written:
    """Give every module below `site` its byte code. `final` is where `site` will stand; `store` holds what is shared.

    Only `python` itself runs, without any package: compiling does not run the code.
    """
    store = store / python.tag
    store.mkdir(mode=0o755, parents=True, exist_ok=True)
    sources = list(_sources(site, python, store))
    missing: list[_Source] = []
    for number, source in enumerate(sources, 1):
        if not _link(source.kept, source.target):
            missing.append(source)
        told(number - len(missing), len(sources))
    linked = len(sources) - len(missing)
    _compile(missing, site, final, python, lambda compiled: told(linked + compiled, len(sources)))
    for source in missing:
        _link(source.target, source.kept)
    return Written(linked=linked, compiled=len(missing))


def drop_unused(store: Path) -> int:
    """Remove byte code that no environment holds any more. Returns how many bytes that freed."""
    freed = 0
    for folder in store.iterdir() if store.is_dir() else ():
        for entry in os.scandir(folder):
            status = entry.stat(follow_symlinks=False)
            if status.st_nlink == 1:
                Path(entry.path).unlink(missing_ok=True)
                freed += status.st_size
    return freed


def _sources(site: Path, python: Python, store: Path) -> Iterator[_Source]:
    suffix = f".{python.tag.rpartition('-')[0]}.pyc"
    for folder, names, files in os.walk(site):
        names[:] = [name for name in names if name not in _TESTS]
        modules = [name for name in files if name.endswith(".py")]
        if not modules:
            continue
        cache = os.path.join(folder, "__pycache__")  # noqa: PTH118  # thousands of files: Path costs a tenth of it all
        with contextlib.suppress(FileExistsError):
            os.mkdir(cache, 0o755)  # noqa: PTH102  # as above
        for name in modules:
            path = f"{folder}/{name}"
            status = os.lstat(path)
            shared = status.st_nlink > 1
            identity = f"{status.st_dev}-{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
            yield _Source(
                path=path, target=f"{cache}/{name[:-3]}{suffix}", kept=f"{store}/{identity}" if shared else ""
            )


def _link(source: str, target: str) -> bool:
    """Whether `target` is now another name of `source`, or something else that stands there already."""
    if not source or not target:
        return False
    try:
        os.link(source, target)
    except FileExistsError:
        return True
    except OSError:  # not there; another file system; too many names
        return False
    return True


def _compile(sources: list[_Source], site: Path, final: Path, python: Python, told: Callable[[int], None]) -> None:
    lines = [f"{source.path}\t{source.path.replace(str(site), str(final), 1)}\n" for source in sources]
    jobs = min(os.cpu_count() or 1, 1 + len(lines) // 100)
    counted, count = os.pipe()
    try:
        shares = ["".join(lines[number::jobs]) for number in range(jobs if lines else 0)]
        running = [_compiler(python, share, count) for share in shares]
    finally:
        os.close(count)  # so that the last compiler's end is the end of what is read
    with os.fdopen(counted, "rb", buffering=0) as pipe:
        in_time = _follow(pipe.fileno(), told)
    for process in running:
        if not in_time:  # the app compiles the rest itself, each time it starts
            process.kill()
        process.wait()


def _compiler(python: Python, lines: str, count: int) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as listing:  # a file, not a pipe: the next compiler need not wait until it is read
        listing.write(lines.encode("utf-8", "surrogateescape"))
        listing.seek(0)
        return subprocess.Popen(
            [python.path, "-I", "-S", "-W", "ignore", "-c", _COMPILER],
            stdin=listing,
            stdout=count,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
            cwd="/",
            umask=0o022,
        )


def _follow(descriptor: int, told: Callable[[int], None]) -> bool:
    """Tell how many bytes came, until there are no more. Whether that was in time."""
    deadline, done = time.monotonic() + COMPILE_TIMEOUT_S, 0
    while (left := deadline - time.monotonic()) > 0:
        ready = readable(descriptor, left)
        data = os.read(descriptor, 65536) if ready else b""
        if ready and not data:
            return True
        if data:
            done += len(data)
            told(done)
    return False
