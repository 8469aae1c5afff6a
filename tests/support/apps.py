"""Apps under a bridge of their own, without the rest of the runner: a fresh Python, or a fork of a loaded one.

A fork stands for a Python that has just imported Gradio, which takes seconds; so all shapes of a launch fit in a test.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import spaces_runner
from spaces_runner import tunnel
from spaces_runner.ports import PortBlock, is_free
from spaces_runner.settings import Settings
from spaces_runner.shim.bridge import Bridge, Up
from tests.support.cases import Case
from tests.support.home import open_directory

BOOTSTRAP = Path(spaces_runner.__file__).parent / "bootstrap" / "_spaces_runner.py"
Env = Mapping[str, str]
# Below the ports that the kernel hands out; those of an earlier run may still be in TIME_WAIT.
BLOCKS = itertools.count(12000 + os.getpid() % 800 * 10, 10)

WARM = """
import json, os, runpy, signal, sys
import gradio
import _spaces_runner

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2), os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["env"])
        _spaces_runner.FAMILY = _spaces_runner.read_family()
        sys.argv, sys.path[0] = job["argv"], os.path.dirname(os.path.abspath(job["argv"][0]))
        runpy.run_path(job["argv"][0], run_name="__main__")
        os._exit(0)
    print(pid, flush=True)
"""


@dataclass(slots=True)
class App:
    """One process family under a bridge. `ups` and `failures` are what the bridge was told."""

    root: Path
    share: bool
    ticket: tunnel.Ticket
    ups: list[Up] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    tunnels: dict[int, tunnel.Tunnel] = field(default_factory=dict)
    ports: PortBlock = field(default_factory=lambda: PortBlock(base=next(BLOCKS)))
    refuse_tunnels: bool = False
    pid: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def bridge(self) -> Bridge:
        return Bridge(
            socket_path=self.root / "socket",
            ports=self.ports,
            share=self.share,
            open_tunnel=self.open_tunnel,
            on_up=self.ups.append,
            on_failed=lambda patch, error: self.failures.append((patch, error)),
        )

    def open_tunnel(self, port: int) -> str | None:
        if self.refuse_tunnels:
            return None
        if port not in self.tunnels:
            self.tunnels[port] = tunnel.Tunnel(self.ticket, port)
            self.tunnels[port].start()
        return self.tunnels[port].url

    def environment(self, python: Path, more: Env | None) -> dict[str, str]:
        return {
            "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.root),
            "SPACES_RUNNER_SOCKET": str(self.root / "socket"),
            "SPACES_RUNNER_RUN": "run-1",
            "GRADIO_SERVER_PORT": str(self.ports.base),
            "PORT": str(self.ports.base),
            "SPACE_ID": "owner/name",
            "SPACE_HOST": "owner-name.hf.space",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
            "NO_PROXY": "localhost,127.0.0.1",
            "BROWSER": "true",
            "PYTHONUNBUFFERED": "1",
            **(more or {}),
        }

    def wait_up(self, count: int = 1, timeout_s: float = 60.0) -> Up:
        """The newest of at least `count` links."""
        deadline = time.monotonic() + timeout_s
        while len({up.port for up in self.ups}) < count:
            assert alive(self.pid), f"it ended: {self.log}"
            assert time.monotonic() < deadline, f"it did not come up: {self.failures} {self.log}"
            time.sleep(0.02)
        return self.ups[-1]

    def wait_log(self, text: str, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.log:
            assert time.monotonic() < deadline, f"it did not say {text!r}: {self.log}"
            time.sleep(0.02)

    def stop(self) -> None:
        for pid in family(self.root):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)
        for opened in self.tunnels.values():
            opened.stop()


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def family(root: Path) -> list[int]:
    """Every process that has the socket in its first environment, or, forked, works below `root`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            mine = str(root).encode() in (entry / "environ").read_bytes()
            if mine or (entry / "cwd").readlink().is_relative_to(root):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@dataclass(slots=True)
class Starter:
    """Starts apps, and ends them with the test."""

    python: Path
    ticket: tunnel.Ticket
    warm: subprocess.Popen[str] | None = None
    apps: list[tuple[App, Bridge]] = field(default_factory=list)

    def app(self, files: dict[str, str] | Case, share: bool = True) -> App:
        """A Space's files in a directory of its own, with a bridge that listens."""
        app = App(root=open_directory("sr-app-"), share=share, ticket=self.ticket)
        if isinstance(files, Case):
            files.lay(app.root / "space")
        else:
            for name, text in files.items():
                path = app.root / "space" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        (app.root / "log").touch()
        bridge = app.bridge()
        bridge.start()
        self.apps.append((app, bridge))
        return app

    def run(self, app: App, *argv: str, env: Env | None = None, python: Path | None = None) -> App:
        """A fresh Python."""
        python = python or self.python
        with (app.root / "log").open("wb") as log:
            started = subprocess.Popen(
                [str(python), *argv],
                cwd=app.root / "space",
                env=app.environment(python, env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        app.pid, app.process = started.pid, started
        return app

    def fork(self, app: App, *argv: str, env: Env | None = None) -> App:
        """A fork of a Python that has Gradio loaded."""
        if self.warm is None:
            self.warm = subprocess.Popen(
                [self.python, "-u", "-c", WARM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={"PATH": "/usr/bin:/bin", "SPACES_RUNNER_SOCKET": "/nowhere"},  # each fork gets its own
            )
            assert self._ask_warm("") == "ready"
        job = {
            "argv": argv,
            "env": app.environment(self.python, env),
            "cwd": str(app.root / "space"),
            "log": str(app.root / "log"),
        }
        app.pid = int(self._ask_warm(json.dumps(job) + "\n"))
        return app

    def _ask_warm(self, line: str) -> str:
        assert self.warm is not None
        assert self.warm.stdin is not None
        assert self.warm.stdout is not None
        self.warm.stdin.write(line)
        self.warm.stdin.flush()
        return self.warm.stdout.readline().strip()

    def stop(self) -> None:
        for app, bridge in self.apps:
            bridge.close()
            app.stop()
            shutil.rmtree(app.root, ignore_errors=True)
        self.apps.clear()

    def close(self) -> None:
        if self.warm is not None:
            self.warm.communicate(timeout=10)


@dataclass(frozen=True, slots=True)
class Environments:
    """Makes virtual environments that hold the bootstrap, below `room`."""

    room: Path
    cache: Path
    settings: Settings

    def make(self, name: str, *requirements: str, python: str = sys.executable, date: str | None = None) -> Path:
        """The interpreter of a new environment of `requirements`, as they were on `date`."""
        search = ":".join([os.environ["PATH"], *self.settings.python_dirs])
        environ = {**os.environ, "UV_CACHE_DIR": str(self.cache), "PATH": search}
        uv, target = str(Path(sys.executable).with_name("uv")), self.room / name
        subprocess.run([uv, "venv", "-q", "--python", python, target], env=environ, check=True, timeout=120)
        before = ["--exclude-newer", date] if date else []
        interpreter = target / "bin" / "python"
        install = [uv, "pip", "install", "-q", *before, "--python", str(interpreter), *requirements]
        subprocess.run(install, env=environ, check=True, timeout=300)
        [site] = target.glob("lib/python3*/site-packages")
        for module in BOOTSTRAP.parent.glob("_spaces_runner*.py"):
            shutil.copy(module, site)
        (site / "_spaces_runner.pth").write_text("import _spaces_runner\n")
        return interpreter


def left_by_a_server(port: int = 0) -> int:
    """This port, or any. A connection of it ended a moment ago at the server's end: that is remembered for a minute."""
    with socket.create_server(("127.0.0.1", port)) as server:
        port = int(server.getsockname()[1])
        client = socket.create_connection(("127.0.0.1", port))
        connection, _ = server.accept()
        connection.close()  # the end that closes first waits
        client.close()
    return port


def free_base(size: int = 10) -> int:
    """The base of a block of which nobody uses a port."""
    for base in range(10000 + os.getpid() % 1000 * 10, 30000, size):  # below what the kernel hands out
        if all(is_free(port) for port in range(base, base + size)):
            return base
    raise AssertionError("no ports are free")
