"""Where the runner is measured: a state directory, a stand-in Hub, and the recipe that it is measured against."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces_runner import control, looking
from spaces_runner.ports import is_free
from spaces_runner.settings import Settings
from tests.support.home import make_settings, open_directory
from tests.support.hub import Hub, serve_hub

GRADIO = "6.31.0"
README = "---\ntitle: {title}\nsdk: gradio\nsdk_version: {gradio}\napp_file: app.py\n---\n"
APP = """import gradio as gr
demo = gr.Interface(lambda text: text[::-1], "text", "text", api_name="rev")
demo.launch()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A Space that answers. `seconds`: from the command to its first HTTP 200; `begun_at`: when that was, Unix time."""

    id: str
    seconds: float
    begun_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A state directory, a stand-in Hub, and how many pairs to measure."""

    settings: Settings
    hub: Hub
    work: Path
    pairs: int

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPACES_RUNNER_", "HF_"))}
        return {**kept, "SPACES_RUNNER_HOME": self.settings.home, "HF_ENDPOINT": self.hub.endpoint}

    def command(self, verb: str, *arguments: str) -> Any:
        """A command of the runner, as a person types it; what it prints with --json."""
        line = [sys.executable, "-m", "spaces_runner", verb, "--json", *arguments]
        done = subprocess.run(line, env=self.environ, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(line)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return json.loads(done.stdout)

    def launch(self, space: str, *arguments: str) -> Launch:
        """Run a Space, with arguments for its app, until it answers."""
        begun_at, begun = time.time(), time.monotonic()
        app = ("--", *arguments) if arguments else ()
        found = self.command("run", space, "--detach", "--no-share", *app)
        await_page(found["local_url"], None)
        return Launch(id=found["id"], seconds=time.monotonic() - begun, begun_at=begun_at)

    def add_space(self, name: str, requirements: Sequence[str]) -> None:
        """A Space on the stand-in Hub: a plain Interface."""
        readme = README.format(title=name, gradio=GRADIO)
        listed = "".join(f"{requirement}\n" for requirement in requirements)
        self.hub.add_space(name, {"README.md": readme, "app.py": APP, "requirements.txt": listed})


@contextmanager
def stage(pairs: int) -> Iterator[Bench]:
    home, work = open_directory("bench-home-"), open_directory("bench-work-")
    cache = Path(os.environ.get("SPACES_RUNNER_TEST_CACHE", "/tmp/spaces-runner-test-cache"))
    cache.mkdir(mode=0o755, exist_ok=True)
    with serve_hub() as hub:
        settings = hub.settings(make_settings(home, cache))
        bench = Bench(settings=settings, hub=hub, work=work, pairs=pairs)
        bench.add_space("bench/plain", [f"gradio=={GRADIO}"])
        try:
            yield bench
        finally:
            for status in looking.statuses(settings):
                control.remove(status.id, settings)
            shutil.rmtree(home, ignore_errors=True)
            shutil.rmtree(work, ignore_errors=True)


def await_page(url: str, app: subprocess.Popen[bytes] | None, deadline: float = 120) -> None:
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if app is not None and app.poll() is not None:
            raise RuntimeError(f"the app ended with {app.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise TimeoutError(url)


def forget(bench: Bench) -> None:
    """Everything but the package cache and the interpreters: the next launch is a first one."""
    for status in looking.statuses(bench.settings):
        control.remove(status.id, bench.settings)
    for folder in (
        bench.settings.environments_dir,
        bench.settings.mirrors_dir,
        bench.settings.home_dir / "resolutions",
    ):
        shutil.rmtree(folder, ignore_errors=True)


def by_hand(bench: Bench, folder: Path) -> float:
    """Seconds of: git lfs clone, python -m venv, pip install -r, python app.py."""
    shutil.rmtree(folder, ignore_errors=True)
    environ = {**bench.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    begun = time.monotonic()
    origin = f"{bench.hub.endpoint}/spaces/bench/plain"
    step(["git", "lfs", "clone", origin, str(folder)], environ)
    step([base_python(), "-m", "venv", str(folder / "env")], environ)
    pip = [
        str(folder / "env/bin/pip"),
        "install",
        "--disable-pip-version-check",
        "-q",
        "-r",
        str(folder / "requirements.txt"),
    ]
    step(pip, environ)
    prepared = time.monotonic() - begun
    return prepared + started_by_hand([str(folder / "env/bin/python"), "app.py"], folder)


def step(line: list[str], environ: dict[str, str]) -> None:
    """One command of the recipe. Raises CalledProcessError."""
    subprocess.run(line, env=environ, check=True, capture_output=True, timeout=600)


def started_by_hand(line: list[str], folder: Path) -> float:
    """Seconds until a plain process answers 200."""
    port = next(port for port in range(36000, 37000) if is_free(port))
    environ = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    begun = time.monotonic()
    app = subprocess.Popen(line, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_page(f"http://127.0.0.1:{port}/", app)
        return time.monotonic() - begun
    finally:
        app.kill()
        app.wait(timeout=10)


def base_python() -> str:
    """The interpreter behind our own virtual environment."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
