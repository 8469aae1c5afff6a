"""Real shims for real apps: a supervisor in a process of its own that is handed a launch plan instead of a build."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from spaces_runner import looking, secrets
from spaces_runner.codec import encode
from spaces_runner.environment import pythons
from spaces_runner.job import Job
from spaces_runner.logfile import tail
from spaces_runner.process import Family
from spaces_runner.settings import Settings
from spaces_runner.shim.rooms import furnish
from spaces_runner.shim.supervisor import Backoff
from spaces_runner.store import Store
from spaces_runner.store.records import Admission, Run
from spaces_runner.types import LaunchPlan, RefKind, RunOptions, Sdk, SpaceRef, Stage, User
from tests.support.home import make_settings, open_directory

ROOT = Path(__file__).parents[2]
CHILD = """
import json, sys
from spaces_runner.codec import decode
from spaces_runner.job import Job
from spaces_runner.shim.supervisor import Backoff, Supervisor
from spaces_runner.types import LaunchPlan
told = json.load(sys.stdin)
Supervisor(decode(Job, told["job"]), Backoff(**told["backoff"])).run(decode(LaunchPlan, told["plan"]))
"""
SERVER = """
    import http.server, os
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        def log_message(self, *args):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
"""
ORDINARY = User(uid=61977, gid=61977)  # whom root becomes to be an ordinary user's runner
SERVE = SERVER + "    server.serve_forever()\n"


@pytest.fixture(scope="session")
def space_python(package_cache: Path) -> str:
    """An interpreter that the users of Spaces can run."""
    home = open_directory("sr-python-")
    settings = make_settings(home, package_cache)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return os.path.realpath(pythons.find(version, settings, fetch=False).path)


def until(holds: Callable[[], bool], timeout: float = 15.0) -> None:
    """Wait for a condition; the test fails when it does not come about."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"{holds} did not come about within {timeout} s"
        time.sleep(0.02)


def files_with(text: str, folder: Path) -> list[str]:
    """The files below `folder` that hold `text`, not counting the shared package cache.

    Looked at by another process: one that closes a database file gives up the locks of its own connections.
    """
    command = ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", "-e", text, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return sorted(done.stdout.splitlines())


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    """A run at work."""

    settings: Settings
    admission: Admission
    process: subprocess.Popen[bytes]

    @property
    def id(self) -> str:
        return self.admission.space.id

    @property
    def run(self) -> Run:
        return Store(self.settings).run(self.id)

    @property
    def family(self) -> Family:
        store = Store(self.settings)
        return Family(mark=self.admission.run_id, user=store.user(self.admission.space))

    @property
    def log(self) -> list[str]:
        return tail(self.settings.space(self.id).run_log, 1000)

    def until_stage(self, *stages: Stage, timeout: float = 60.0) -> Run:
        """The run once it has come to one of these. The deadline is past the one that an app has to answer."""
        until(lambda: self.run.status.stage in stages or self.process.poll() is not None, timeout)
        run = self.run
        assert run.status.stage in stages, (run.status, self.log)
        return run


def hand_over(
    process: subprocess.Popen[bytes], job: Job, plan: LaunchPlan, backoff: Backoff
) -> subprocess.Popen[bytes]:
    """Give a shim what it waits for."""
    assert process.stdin is not None
    with process.stdin as stdin:
        told = {"job": encode(job), "plan": encode(plan), "backoff": encode(backoff)}
        stdin.write(json.dumps(told).encode())
    return process


class Shims:
    """Starts runs of apps that are given as source text, and ends what is left of them. `program`: their shim's."""

    def __init__(self, settings: Settings, python: str) -> None:
        self.settings, self._python = settings, python
        self._started: list[Shim] = []
        self.program = CHILD

    def start(
        self,
        source: str,
        *,
        name: str = "app",
        values: Mapping[str, str] | None = None,
        backoff: Backoff | None = None,
        share: bool = False,
        ready_timeout_s: float = 30.0,
        base_path: str = "",
        ordinary: bool = False,
    ) -> Shim:
        """`ordinary`: the shim is no root, whoever runs the tests."""
        store = Store(self.settings)
        admission = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source=f"/{name}"), RunOptions(share=share), name)
        dirs = self.settings.space(admission.space.id)
        user = None if ordinary else store.user(admission.space)
        furnish(dirs, user)
        dirs.app.mkdir(mode=0o755, exist_ok=True)
        (dirs.app / "app.py").write_text(textwrap.dedent(source))
        secrets.replace(self.settings, admission.space.id, values or {})
        job = Job(
            space_id=admission.space.id,
            run_id=admission.run_id,
            ref=admission.space.ref,
            options=admission.space.options,
            settings=self.settings,
            user=user,
        )
        plan = LaunchPlan(
            argv=(self._python, "app.py"),
            cwd=str(dirs.app),
            env={"PATH": "/usr/bin:/bin", "HOME": str(dirs.home), "PYTHONUNBUFFERED": "1", "TMPDIR": str(dirs.tmp)},
            sdk=Sdk.GRADIO,
            user=user,
            share=share,
            ready_timeout_s=ready_timeout_s,
            base_path=base_path,
        )
        spawn = self._spawn_ordinary if ordinary and os.geteuid() == 0 else self._spawn
        process = spawn(job, plan, backoff or Backoff())
        shim = Shim(settings=self.settings, admission=admission, process=process)
        self._started.append(shim)
        return shim

    def _spawn(self, job: Job, plan: LaunchPlan, backoff: Backoff) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", self.program], cwd=ROOT, stdin=subprocess.PIPE)
        return hand_over(process, job, plan, backoff)

    def _spawn_ordinary(self, job: Job, plan: LaunchPlan, backoff: Backoff) -> subprocess.Popen[bytes]:
        """From a copy of the package: the checkout, and our own interpreter, may lie where only root may go."""
        home = self.settings.home_dir
        code = home / "code"
        shutil.copytree(ROOT / "spaces_runner", code / "spaces_runner", ignore=shutil.ignore_patterns("__pycache__"))
        for path in (home, *home.rglob("*")):
            os.chown(path, ORDINARY.uid, ORDINARY.gid, follow_symlinks=False)
        process = subprocess.Popen(
            [self._python, "-c", self.program],
            cwd=code,
            stdin=subprocess.PIPE,
            user=ORDINARY.uid,
            group=ORDINARY.gid,
            extra_groups=(),
        )
        return hand_over(process, job, plan, backoff)

    def close(self) -> None:
        for shim in self._started:
            if shim.process.poll() is None:
                shim.process.kill()
            shim.process.wait()
        looking.sweep(self.settings)


@pytest.fixture
def shims(settings: Settings, space_python: str) -> Iterator[Shims]:
    """Shims of a state directory of their own. Stopping does not take them long."""
    made = Shims(replace(settings, stop_grace_s=2.0), space_python)
    yield made
    made.close()
