"""The notebooks, executed by real Jupyter kernels as the platforms execute them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil
import pytest

import spaces_runner
from spaces_runner import core
from spaces_runner.notebook.snapshot import Snapshot
from spaces_runner.settings import Settings
from spaces_runner.types import SpaceStatus, Stage
from tests.support.cli import environ_of
from tests.support.home import cache_directory, make_settings, open_directory
from tests.support.notebooks import PATIENCE_S, old_kernel, running, until
from tests.support.share import Share
from tests.support.shims import files_with

__all__ = ["old_kernel"]
ROOT = Path(__file__).parents[2]
FQDN = "n1abc2def.clg07azjl.paperspacegradient.com"
NATIVE = f"https://tensorboard-{FQDN}"
SPACE = "./examples/hello-interface"
SECRET = "kept-from-the-storage"
pytestmark = pytest.mark.network_index


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One that a platform lends: its own disk, and `root`, where the directories lie that outlive it."""

    settings: Settings
    root: Path
    port: int

    def environ(self, **more: str) -> dict[str, str]:
        own = {
            "SPACES_RUNNER_NOTEBOOK_ROOT": str(self.root),
            "SPACES_RUNNER_NOTEBOOK_LISTEN": f"127.0.0.1:{self.port}",
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "UV_CACHE_DIR": str(cache_directory() / "cache"),
            "JUPYTER_PLATFORM_DIRS": "1",
        }
        return environ_of(self.settings, **own, **more)

    @property
    def status(self) -> SpaceStatus:
        (one,) = spaces_runner.spaces(settings=self.settings)
        return one.status

    @property
    def helpers(self) -> list[int]:
        """The programs behind cells of this machine."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [])[-1:] == ["spaces_runner.notebook"]:
                try:
                    mine = process.environ().get("SPACES_RUNNER_HOME") == self.settings.home
                except psutil.NoSuchProcess:
                    continue
                found += [process.pid] if mine else []
        return found


@pytest.fixture
def root(package_cache: Path) -> Iterator[Path]:
    """Where the platforms' directories stand; what is kept there of Gradient has the tests' packages."""
    path = open_directory("sr-platform-")
    for name in ("storage/.spaces-runner", "notebooks", "kaggle/working"):
        (path / name).mkdir(parents=True, mode=0o755)
    for name, cache in (("packages", "cache"), ("pythons", "python")):
        (path / "storage/.spaces-runner" / name).symlink_to(package_cache / cache)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def machine(root: Path, share: Share, settings: Settings) -> Iterator[Machine]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Machine(settings=replace(share.settings(settings), stop_grace_s=2.0), root=root, port=port)
    yield made
    for space in spaces_runner.spaces(settings=made.settings):
        space.remove()
    core.stop(made.settings)


def hours_until(seconds: float) -> float:
    """What HOURS must be for the platform to stop this machine so many seconds from now."""
    return (time.time() + seconds - psutil.Process(1).create_time()) / 3600


def answers(url: str | None) -> bool:
    try:
        return httpx.get(str(url), timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_on_gradient_with_an_old_python(machine: Machine, old_kernel: str) -> None:
    """Launched, adopted after the kernel was killed, interrupted; kept where Gradient keeps it, but for the secret."""
    uv = machine.settings.home_dir / "uv"
    shutil.rmtree(uv)  # the caches are found where they are kept
    environ = machine.environ(PAPERSPACE_FQDN=FQDN, WORD=SECRET)
    asked = {"SPACE": SPACE, "SECRETS": ["WORD"], "STORAGE_GB": 1000, "HOURS": hours_until(3600)}
    with running("run_any_space", environ, asked, old_kernel) as first:
        first.until("<iframe", "text/html")
        shown = first.until("stops this machine in 59m")
        assert "this kernel has Python 3.9" in shown
        assert f"Gradient's own link  {NATIVE}" in shown
        status = machine.status
        assert status.share_url and f"Public link          {status.share_url}" in shown
        assert f'src="{status.share_url}"' in first.text("text/html")
        assert answers(f"http://127.0.0.1:{machine.port}/"), "Gradient's link leads to the Space"
        assert (uv / "cache").resolve() == (machine.root / "storage/.spaces-runner/packages").resolve()
        kept = machine.root / "notebooks/.spaces-runner/state.db"
        until(kept.is_file)
        assert not files_with(SECRET, machine.root / "notebooks")
        assert SECRET not in first.text() + first.text("text/html")
        first.kill()
    until(lambda: not machine.helpers)
    assert answers(status.local_url), "the Space goes on without the notebook"
    assert not answers(f"http://127.0.0.1:{machine.port}/")

    with running("run_any_space", environ, {**asked, "HOURS": hours_until(50)}, old_kernel) as again:
        shown = again.until("The end is near")
        assert "runs already" in shown
        assert "Making a Python" not in shown
        assert machine.status.started_at == status.started_at
        again.interrupt()
        assert "is stopped" in again.ended()
        assert not again.failure
    assert machine.status.stage is Stage.STOPPED
    assert not machine.helpers
    assert not answers(status.local_url)


def test_what_ran_goes_on_with_the_next_machine(machine: Machine, package_cache: Path) -> None:
    """The disk of the first machine is lost while its Space runs. The next one has what Gradient kept."""
    kept = machine.root / "notebooks/.spaces-runner/state.db"
    space = spaces_runner.run(ROOT / SPACE, wait=False, share=False, settings=machine.settings)
    Snapshot(kept=kept, settings=machine.settings).save()
    known = space.stop().id

    home = open_directory("sr-home-")
    fresh = make_settings(home, package_cache)
    ours = replace(machine.settings, home=fresh.home, stop_grace_s=2.0)
    other = replace(machine, settings=ours)
    try:
        environ = other.environ(PAPERSPACE_FQDN=FQDN)
        with running("run_any_space", environ, {"SPACE": "./docs", "SHARE": False}) as cell:
            shown = cell.ended(PATIENCE_S)
            assert "are known (1)" in shown
            assert "hello-interface ran there, and is being started again." in shown
            assert "NO_APP_FILE" in cell.failure, "what this cell asks for is another matter"
        resumed = next(one for one in spaces_runner.spaces(settings=ours) if one.id == known)
        assert answers(resumed.wait(PATIENCE_S).url)
        with running("run_any_space", environ, {"SPACE": SPACE, "SHARE": False}) as cell:
            assert "runs already" in cell.until("On this machine")
            cell.interrupt()
            assert "is stopped" in cell.ended()
        assert resumed.stage is Stage.STOPPED
    finally:
        for space in spaces_runner.spaces(settings=ours):
            space.remove()
        shutil.rmtree(home)


def test_on_kaggle_interrupted_in_its_start(machine: Machine) -> None:
    environ = machine.environ(KAGGLE_KERNEL_RUN_TYPE="Interactive")
    with running("run_any_space", environ, {"SPACE": SPACE, "SHARE": False}) as cell:
        cell.until("clone")
        cell.interrupt()
        shown = cell.ended()
        assert f"{SPACE} is stopped." in shown
        assert f"Kept in {machine.root}/kaggle/working" in shown
        assert "<iframe" not in cell.text("text/html")
    assert machine.status.stage is Stage.STOPPED


def test_a_failure_is_told_without_a_trace(machine: Machine) -> None:
    with running("run_any_space", machine.environ(), {"SPACE": "not/a/space"}) as cell:
        cell.ended(60)
        assert "Traceback" not in cell.failure
        (output,) = cell.outputs
        assert output["ename"] == "Failed"
        assert "helper.py" not in "".join(output["traceback"])


def test_a_chat_with_the_core(machine: Machine) -> None:
    with running("chat_with_the_core", machine.environ(CUDA_VISIBLE_DEVICES=""), {"PRESET": "demo"}) as cell:
        shown = cell.ended(PATIENCE_S)
        assert not cell.failure
        assert "guanaco-7b" in shown
        assert "Paris" in shown
        assert "Rome" in shown
        assert "4 messages" in shown
        assert "The core is stopped." in shown
        found = core.status(machine.settings)
        assert found and found.token and found.token not in shown
    assert found.stage is Stage.STOPPED


def test_the_kernels_side_loads_in_the_oldest_python() -> None:
    """It is imported by whatever Python the image has."""
    found = sorted(Path(os.environ.get("PYENV_ROOT", "/nonexistent")).glob("versions/3.8.*/bin/python"))
    if not found:
        pytest.skip("there is no Python 3.8: pyenv would have it")
    command = [str(found[0]), "-c", "from spaces_runner.notebook import cells; print(cells.ROOT)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert re.fullmatch(rf"{re.escape(str(ROOT))}\n", done.stdout), done.stderr
