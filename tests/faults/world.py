"""What a fault happens in: a state directory, a Hub, a package index, Spaces, and secrets to look for afterwards."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from spaces_runner import control, looking, secrets, stopping
from spaces_runner.process import Identity
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.store import opened
from spaces_runner.store.records import Admission, Run
from spaces_runner.types import RunOptions, SpaceRef, Stage, Step
from tests.faults import programs
from tests.faults.census import end_all
from tests.faults.index import Index, serving
from tests.support.cli import Cli
from tests.support.home import cache_directory, make_settings, open_directory
from tests.support.hub import Hub, serve_hub
from tests.support.hub_repos import Contents
from tests.support.share import Share

NOTICED_S, RECOVERED_S, STOPPED_S = 1.0, 10.0, 15.0  # what is promised of a death, of the page, of a stop
SMALL_MIB = 64
LAUNCH_S = 60.0  # for a first launch on a busy machine: nothing is promised of it here


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """What an owner was told is so."""

    ref: SpaceRef
    options: RunOptions
    secrets: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class World:
    """One for each fault. `marks` are of all runs there ever were in it."""

    settings: Settings
    hub: Hub
    index: Index
    random: Random
    share: Share
    secret: str
    token: str
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    marks: set[str] = field(default_factory=set)

    @property
    def home(self) -> Path:
        return self.settings.home_dir

    @property
    def cli(self) -> Cli:
        return Cli(settings=self.settings)

    def publish(self, app: str = programs.HONEST, name: str = "o/app", lfs: tuple[str, ...] = (), **files: str) -> None:
        """Put a Space on the Hub. `files`: more of it, by name."""
        self.add({"app.py": app, **files}, name, lfs)

    def add(self, files: Contents, name: str = "o/app", lfs: tuple[str, ...] = ()) -> None:
        self.hub.add_space(name, {"README.md": programs.README, **files}, lfs=lfs)

    def start(self, name: str = "o/app", *, share: bool = False) -> str:
        """Ask for it and be told that it is at work; returns its id."""
        options, values = RunOptions(share=share), {"KEY": self.secret}
        request = control.Request(ref=parse(name, self.settings), options=options, secrets=values)
        started = control.start(request, self.settings)
        self.acknowledged[started.id] = Acknowledged(ref=request.ref, options=options, secrets=values)
        self.remember(started.id)
        return started.id

    def acknowledge(self, admission: Admission) -> None:
        """That somebody else was told of it, and then died."""
        space = admission.space
        self.acknowledged[space.id] = Acknowledged(ref=space.ref, options=space.options, secrets={})
        self.marks.add(admission.run_id)

    def launch(self, app: str = programs.HONEST, *, share: bool = False) -> str:
        """Publish it, start it, and wait until it serves."""
        self.publish(app)
        space_id = self.start(share=share)
        self.until(space_id, Stage.RUNNING)
        return space_id

    def restart(self, space_id: str) -> None:
        control.restart(space_id, self.settings)
        self.remember(space_id)

    def remember(self, space_id: str) -> Run:
        run = self.run(space_id)
        self.marks.add(run.id)
        return run

    def run(self, space_id: str) -> Run:
        """As the store has it: nothing is swept."""
        return opened(self.settings).run(space_id)

    def look(self, space_id: str) -> Stage:
        """As a face is told."""
        return looking.status(space_id, self.settings).stage

    def until(self, space_id: str, *stages: Stage, timeout: float = LAUNCH_S) -> Run:
        """The run once a face is told one of these. Fails at once where it has ended otherwise."""
        deadline = time.monotonic() + timeout
        while (stage := self.look(space_id)) not in stages:
            status = self.run(space_id).status
            assert stage.active, f"{status.stage} in place of {stages}: {status.error} {self.log(space_id)}"
            assert time.monotonic() < deadline, f"{stage} after {timeout} s in place of {stages}: {status}"
            time.sleep(0.02)
        return self.remember(space_id)

    def until_step(self, space_id: str, step: Step) -> Run:
        wait(lambda: self.run(space_id).status.step is step, f"{step} is never come to", LAUNCH_S)
        return self.run(space_id)

    def log(self, space_id: str) -> list[str]:
        return looking.log_tail(space_id, self.settings, "run", 50)

    # What is promised

    def noticed(self, space_id: str, before: Run) -> None:
        """The end of the app of `before` is told within a second, by whatever it is told."""
        assert before.app is not None
        begun = time.monotonic()
        while (run := self.run(space_id)).status.stage is Stage.RUNNING and run.app == before.app:
            assert time.monotonic() - begun < NOTICED_S, "its end was not noticed"
            time.sleep(0.005)

    def recovers(self, space_id: str, timeout: float = RECOVERED_S) -> Run:
        """It serves again by itself, in a new life."""
        run = self.until(space_id, Stage.RUNNING, timeout=timeout)
        assert get(run.status.local_url) == "ok"
        return run

    def is_started_again(self, space_id: str) -> Run:
        """Its owner starts it again, and it serves within the time that is promised. What made it fail is over."""
        self.hub.behave()
        self.index.behave()
        begun = time.monotonic()
        self.restart(space_id)
        return self.recovers(space_id, RECOVERED_S - (time.monotonic() - begun))

    def stop(self, space_id: str) -> None:
        begun = time.monotonic()
        assert not stopping.stop(space_id, self.settings).stage.active
        assert time.monotonic() - begun < STOPPED_S, "a stop took longer than is promised"

    def kept_secrets(self, space_id: str) -> Mapping[str, str]:
        return dict(secrets.read(self.settings, space_id))


def wait(holds: Callable[[], object], what: str, timeout: float = 15.0) -> None:
    """Until it holds; else fails with `what`."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"{what} ({timeout} s)"
        time.sleep(0.01)


def gone(identity: Identity | None, timeout: float = 5.0) -> None:
    assert identity is not None
    assert identity.wait(timeout), f"{identity} does not end"


def get(url: str | None) -> str:
    assert url is not None
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


@contextmanager
def world(seed: str, share: Share, examined: Path, *, small_disk: bool = False) -> Iterator[World]:
    """A machine on which nothing has happened yet. `seed` decides all that is left to chance.

    `examined` is a file in which worlds hand on what is the same for all: what this machine's sandbox is.
    """
    random = Random(seed)
    token, secret = f"hf_{random.randbytes(15).hex()}", f"sesame-{random.randbytes(12).hex()}"
    with directory(small_disk) as home, serve_hub() as hub, serving() as index:
        hub.accept(token)
        settings = replace(hub.settings(make_settings(home, cache_directory())), hf_token=token, **OWN)
        settings = replace(settings, index_url=index.url)
        (home / "uv" / "cache").unlink()  # its own: what others have fetched would not be asked for
        known = home / "sandbox.json"
        if examined.exists():
            shutil.copy(examined, known)
        made = World(settings=settings, hub=hub, index=index, random=random, share=share, secret=secret, token=token)
        try:
            yield made
        finally:
            end_all(settings, made.marks)
            if known.exists():
                shutil.copy(known, examined)


OWN: dict[str, Any] = {
    "extra_index_urls": (),
    "find_links": (),
    "share_server": "http://127.0.0.1:9/none",
    "network_stall_s": 2,
    "disk_floor_bytes": 0,
    "stop_grace_s": 2.0,
}


@contextmanager
def directory(small_disk: bool) -> Iterator[Path]:
    """For the state, removed afterwards. `small_disk`: it is a file system of its own, of SMALL_MIB."""
    home = open_directory("sr-fault-")
    if small_disk:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MIB}m,mode=755", "tmpfs", str(home)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False, timeout=10)
        if done.returncode:
            home.rmdir()
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield home
    finally:
        if small_disk:
            subprocess.run(["umount", "--lazy", str(home)], check=True, timeout=10)
        shutil.rmtree(home, ignore_errors=True)
