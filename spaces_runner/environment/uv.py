"""Runs the uv binary: a clean environment, a deadline, every line of its output to whoever listens.

Knows uv's switches that hold for every call, not what it is asked for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from spaces_runner.ownership import hand_over
from spaces_runner.sandbox.command import Limits, wrap
from spaces_runner.sandbox.fence import of_build
from spaces_runner.sanitize import clean_line
from spaces_runner.settings import Settings
from spaces_runner.types import Confinement, Fence, User

RESOLVE_TIMEOUT_S = 900.0
INSTALL_TIMEOUT_S = 3600.0
PIPE_TIMEOUT_S = 10.0
HTTP_TIMEOUT_S = 30  # uv's own, for an index that says nothing
MAX_STDOUT = 32 * 1024**2  # a lock of a thousand packages is under 2 MB
MAX_LINES = 2000  # of standard error that are kept for an error message

# Stands for the index of packages whose URL and hash are known. It is never asked for anything.
LOCKED_INDEX = "https://locked.invalid/simple"

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy")

LineSink = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended. `lines` are the last ones of its standard error, harmless text."""

    code: int
    stdout: str
    lines: tuple[str, ...]
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Where a uv call keeps its things, whose it is and what it may reach. `user` None: the runner itself."""

    cache: Path
    home: Path
    tmp: Path
    user: User | None = None
    fence: Fence | None = None


def own_room(settings: Settings, scratch: Path) -> Room:
    """The runner's: its cache is shared by all environments, and only the runner writes it."""
    settings.uv_cache_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    return Room(cache=settings.uv_cache_dir, home=scratch, tmp=scratch)


def space_room(scratch: Path, checkout: Path, under: Confinement, settings: Settings) -> Room:
    """A Space's: a cache, a home and a temporary directory that nobody else ever reads from.

    What is built there may be anything, since building runs the Space's code. The three lie side by side in
    `scratch`, which is the runner's: what the Space owns it could swap for a link while the runner works in it.
    """
    cache, home, tmp = (scratch / f"own-{name}" for name in ("cache", "home", "tmp"))
    for folder in (cache, home, tmp):
        if not folder.is_dir():
            folder.mkdir(mode=0o755)
            hand_over(folder, under.user)
    tools = [
        binary(settings, under.user),
        settings.pythons_dir,
        *(Path(folder).parent for folder in settings.python_dirs),
    ]
    read, write = (*tools, scratch, checkout), (cache, home, tmp, scratch / "src")
    fence = of_build(read, write, settings, under.sandbox) if under.sandbox else None
    return Room(cache=cache, home=home, tmp=tmp, user=under.user, fence=fence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uv:
    """The binary with the settings of the machine, in a room. Every line of its standard error goes to `on_line`."""

    settings: Settings
    room: Room
    on_line: LineSink
    variables: Mapping[str, str] = field(default_factory=dict)  # besides those of `environment`

    def run(self, arguments: tuple[str, ...], timeout_s: float, stdin: str = "") -> Outcome:
        """`uv ARGUMENTS`, read to its end. A call past `timeout_s` is killed with all its children."""
        room = self.room
        command = (str(binary(self.settings, room.user)), *arguments)
        process = subprocess.Popen(
            wrap(command, room.user, room.fence, Limits()),
            env={**environment(self.settings, self.room), **self.variables},
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            umask=0o022,
        )
        return _Watch(process=process, on_line=self.on_line).finish(stdin.encode(), timeout_s)


@dataclass(slots=True)
class _Watch:
    """A process and what it has written so far."""

    process: subprocess.Popen[bytes]
    on_line: LineSink
    output: list[bytes] = field(default_factory=list)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_LINES))

    def finish(self, stdin: bytes, timeout_s: float) -> Outcome:
        """Feed it, read it and wait for it; whatever it leaves running in its group ends with it."""
        threads = [
            threading.Thread(target=self._write, args=(stdin,), daemon=True),
            threading.Thread(target=self._read_stdout, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for thread in threads:
            thread.start()
        timed_out = False
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            self._kill()
        code = self.process.wait()
        for thread in threads:  # one that a stray child keeps open is left behind
            thread.join(PIPE_TIMEOUT_S)
        output = b"".join(self.output).decode("utf-8", "replace")
        return Outcome(code=code, stdout=output, lines=tuple(self.lines), timed_out=timed_out)

    def _write(self, text: bytes) -> None:
        with contextlib.suppress(BrokenPipeError), _pipe(self.process.stdin) as pipe:
            pipe.write(text)  # where it ends without reading, its exit code says why

    def _read_stdout(self) -> None:
        size = 0
        with _pipe(self.process.stdout) as pipe:
            while chunk := pipe.read(65536):
                size += len(chunk)
                if size <= MAX_STDOUT:
                    self.output.append(chunk)

    def _read_stderr(self) -> None:
        with _pipe(self.process.stderr) as pipe:
            for raw in pipe:
                line = clean_line(raw.decode("utf-8", "replace").rstrip("\n"))
                self.lines.append(line)
                self.on_line(line)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # all of them are gone
            os.killpg(self.process.pid, signal.SIGKILL)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the process was started without pipes")
    return pipe


def environment(settings: Settings, room: Room) -> dict[str, str]:
    """The variables of a uv call: index settings, paths, proxies. Nothing else of the owner's, above all no token."""
    env = {
        "HOME": str(room.home),
        "LANG": "C.UTF-8",
        "PATH": settings.path,
        "TMPDIR": str(room.tmp),
        "UV_CACHE_DIR": str(room.cache),
        "UV_PYTHON_INSTALL_DIR": str(settings.pythons_dir),
        "UV_PYTHON_DOWNLOADS": "manual",
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_NO_COLOR": "1",
        "NO_COLOR": "1",
        "UV_LINK_MODE": "hardlink",
        "UV_HTTP_RETRIES": "2",
        "UV_HTTP_TIMEOUT": str(min(HTTP_TIMEOUT_S, settings.network_stall_s)),
        # As pip does: an index that a requirements file adds does not hide the newer versions of the others.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    if settings.index_url:
        env["UV_DEFAULT_INDEX"] = settings.index_url
    if settings.extra_index_urls:
        env["UV_INDEX"] = " ".join(settings.extra_index_urls)
    if settings.find_links:
        env["UV_FIND_LINKS"] = ",".join(settings.find_links)
    if settings.python_mirror:
        env["UV_PYTHON_INSTALL_MIRROR"] = settings.python_mirror
    if settings.python_list:
        env["UV_PYTHON_DOWNLOADS_JSON_URL"] = settings.python_list
    env |= _proxies(room)
    if settings.ca_file:
        env |= {"SSL_CERT_FILE": settings.ca_file, "GIT_SSL_CAINFO": settings.ca_file, "PIP_CERT": settings.ca_file}
    return env


def _proxies(room: Room) -> dict[str, str]:
    """How the network is reached. A proxy's password stays with the runner: a build runs what a Space brings."""
    named = {name: os.environ[name] for name in PROXIES if name in os.environ}
    return {name: value for name, value in named.items() if room.user is None or "@" not in value}


def locked_index(settings: Settings) -> dict[str, str]:
    """Variables that make `LOCKED_INDEX` the default; the real ones stay for the credentials that their URLs hold."""
    real = (settings.index_url, *settings.extra_index_urls)
    known = {"UV_INDEX": " ".join(url for url in real if url)}
    return {"UV_DEFAULT_INDEX": LOCKED_INDEX, **(known if known["UV_INDEX"] else {})}


def binary(settings: Settings, user: User | None) -> Path:
    """The uv binary that `user` can run: the installed one, or a copy where that lies below a closed directory."""
    import uv

    installed = Path(uv.find_uv_bin())
    if user is None or open_to_all(installed):
        return installed
    status = installed.stat()
    copy = settings.bin_dir / f"uv-{status.st_size}-{status.st_mtime_ns}"
    if not copy.exists():
        settings.bin_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        part = copy.with_name(f".{copy.name}.{os.getpid()}")
        shutil.copyfile(installed, part)
        part.chmod(0o755)
        part.replace(copy)
    return copy


def open_to_all(path: Path) -> bool:
    """Whether every user may enter the directories above the real `path`, and read and run it."""
    try:
        real = path.resolve(strict=True)
        if real.stat().st_mode & 0o005 != 0o005:
            return False
        return all(parent.stat().st_mode & 0o001 for parent in real.parents)
    except OSError:
        return False
