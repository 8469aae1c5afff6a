"""`scripts/bench runner`: from paste to page, against the recipe people use; relaunch, sharing, logs and rest.

Both sides of a pair run right after each other on the same machine; what counts is the median of their ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.results import Row, publish
from spaces_runner import control
from spaces_runner.ports import is_free
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import Step, StepFinished
from tests.support.home import make_settings, open_directory
from tests.support.hub import Hub, serve_hub

GRADIO = "6.31.0"
README = "---\ntitle: {title}\nsdk: gradio\nsdk_version: {gradio}\napp_file: app.py\n---\n"
APP = """import gradio as gr
demo = gr.Interface(lambda text: text[::-1], "text", "text", api_name="rev")
demo.launch()
"""
PLAIN = """import http.server
http.server.HTTPServer(("0.0.0.0", 7860), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
# Prints numbered lines on a schedule of 50 MB/s and says how long that took: what it waited for is what slowed it.
CHATTY = """import http.server, sys, threading, time
LINE = b"%09d " + b"x" * 89 + b"\\n"
def chatter(total=2_000_000, chunk=10_000):
    begun = time.monotonic()
    for first in range(0, total, chunk):
        sys.stdout.buffer.write(b"".join(LINE % number for number in range(first, first + chunk)))
        sys.stdout.buffer.flush()
        ahead = begun + (first + chunk) * 100 / 50e6 - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
    open(sys.argv[1], "w").write(str(time.monotonic() - begun))
if len(sys.argv) > 2:
    chatter()
else:
    threading.Thread(target=chatter, daemon=True).start()
    http.server.HTTPServer(("0.0.0.0", 7860), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@dataclass(frozen=True, slots=True)
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

    def command(self, *arguments: str) -> Any:
        """A command of the runner, as a person types it; what it prints with --json."""
        line = [sys.executable, "-m", "spaces_runner", *arguments, "--json"]
        done = subprocess.run(line, env=self.environ, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(line)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return json.loads(done.stdout)

    def launch(self, space: str, *arguments: str) -> tuple[float, dict[str, Any]]:
        """Seconds from paste to the first HTTP 200, and the Space."""
        begun = time.monotonic()
        app = ("--", *arguments) if arguments else ()
        line = ("run", space, "--detach", "--no-share", "--json", *app)
        done = subprocess.run(
            [sys.executable, "-m", "spaces_runner", *line],
            env=self.environ, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{space}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        found = json.loads(done.stdout)
        await_page(found["local_url"], None)
        return time.monotonic() - begun, found


def main() -> int:
    """Measure and publish. `--only` takes letters of the parts, `--pairs` fewer pairs for a quick look."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", default="abcde")
    wanted = parser.parse_args()
    parts = {"a": recipe, "b": relaunch, "c": second, "d": chatty, "e": at_rest}
    rows: list[Row] = []
    with stage(wanted.pairs) as bench:
        for letter, part in parts.items():
            if letter in wanted.only:
                sys.stderr.write(f"({letter}) {(part.__doc__ or '').splitlines()[0]}\n")
                found = part(bench)
                sys.stderr.write("".join(f"    {row.name}: {row.value:g} {row.unit} {row.bar}\n" for row in found))
                rows += found
    return publish("runner", rows) if wanted.only == "abcde" else 0


@contextmanager
def stage(pairs: int) -> Iterator[Bench]:
    home, work = open_directory("bench-home-"), open_directory("bench-work-")
    cache = Path(os.environ.get("SPACES_RUNNER_TEST_CACHE", "/tmp/spaces-runner-test-cache"))
    cache.mkdir(mode=0o755, exist_ok=True)
    with serve_hub() as hub:
        settings = hub.settings(make_settings(home, cache))
        for name in ("plain", "twin", "sibling"):
            listed = f"gradio=={GRADIO}\n" + ("humanize\n" if name == "sibling" else "")
            readme = README.format(title=name, gradio=GRADIO)
            hub.add_space(f"bench/{name}", {"README.md": readme, "app.py": APP, "requirements.txt": listed})
        try:
            yield Bench(settings=settings, hub=hub, work=work, pairs=pairs)
        finally:
            for status in control.statuses(settings):
                control.remove(status.id, settings)
            shutil.rmtree(home, ignore_errors=True)
            shutil.rmtree(work, ignore_errors=True)


def recipe(bench: Bench) -> list[Row]:
    """The recipe people use against one command, from paste to the first page, package caches warm."""
    by_hand(bench, bench.work / "warm")  # both caches: pip's and uv's
    bench.launch("bench/plain")
    theirs, ours = [], []
    for number in range(bench.pairs):
        theirs.append(by_hand(bench, bench.work / f"recipe-{number}"))
        forget(bench)
        ours.append(bench.launch("bench/plain")[0])
    ratio = median(their / our for their, our in zip(theirs, ours, strict=True))
    return [
        Row(name="(a) the recipe, paste to first page", value=round(median(theirs), 2), unit="s"),
        Row(name="(a) spaces-runner run, paste to first page", value=round(median(ours), 2), unit="s"),
        Row(name="(a) faster than the recipe", value=round(ratio, 2), unit="times", bar=">= 4"),
    ]


def relaunch(bench: Bench) -> list[Row]:
    """A relaunch against plain `python app.py` in the same environment."""
    _, space = bench.launch("bench/plain")
    dirs = bench.settings.space(space["id"])
    python = next((dirs.venv / "bin").glob("python"))
    theirs, ours, commands = [], [], []
    for _ in range(bench.pairs):
        bench.command("stop", space["id"])
        theirs.append(started_by_hand([str(python), "app.py"], dirs.app))
        answered, returned = relaunched(bench, space["id"])
        ours.append(answered)
        commands.append(returned)
    ratio = median(our / their for their, our in zip(theirs, ours, strict=True))
    return [
        Row(name="(b) plain python app.py", value=round(median(theirs), 2), unit="s"),
        Row(name="(b) relaunch, to the first page", value=round(median(ours), 2), unit="s"),
        Row(name="(b) relaunch, to the end of the command", value=round(median(commands), 2), unit="s"),
        Row(name="(b) relaunch over plain python", value=round(ratio, 3), unit="times", bar="<= 1.15"),
    ]


def relaunched(bench: Bench, space_id: str) -> tuple[float, float]:
    """Seconds from the command typed to the first HTTP 200 of the app, as the plain one is timed, and to its end."""
    last = Store(bench.settings).run(space_id).id
    line = [sys.executable, "-m", "spaces_runner", "run", "bench/plain", "--detach", "--no-share"]
    begun = time.monotonic()
    command = subprocess.Popen(line, env=bench.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await_page(f"http://127.0.0.1:{port_of_next(bench, space_id, last)}/", None)
    answered = time.monotonic() - begun
    if command.wait(120) != 0:
        raise RuntimeError(f"{' '.join(line)} ended with {command.returncode}")
    return answered, time.monotonic() - begun


def port_of_next(bench: Bench, space_id: str, last: str, deadline: float = 60) -> int:
    """The port that the app of the run after `last` was given, as soon as it has been."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        run = Store(bench.settings).run(space_id)
        if run.id != last and run.app is not None:
            given = Path(f"/proc/{run.app.pid}/environ").read_bytes().split(b"\0")
            ports = [entry.removeprefix(b"PORT=") for entry in given if entry.startswith(b"PORT=")]
            if ports:  # else it is just becoming the app
                return int(ports[0])
        time.sleep(0.02)
    raise TimeoutError(space_id)


def second(bench: Bench) -> list[Row]:
    """A second Space with the same requirements, and one with one requirement more."""
    bench.launch("bench/plain")
    environments = bench.settings.environments_dir
    before = listing(environments)
    _, twin = bench.launch("bench/twin")
    new = len(listing(environments) - before)
    same = environment_seconds(bench, twin["id"])
    first_size = disk(bench, next(iter(before)))
    size = disk(bench)
    _, sibling = bench.launch("bench/sibling")
    grown = (disk(bench) - size) / first_size * 100
    return [
        Row(name="(c) same requirements: new environments", value=new, unit="", bar="<= 0"),
        Row(name="(c) same requirements: environment ready", value=round(same, 3), unit="s", bar="<= 0.5"),
        Row(name="(c) one requirement more: environment ready",
            value=round(environment_seconds(bench, sibling["id"]), 2), unit="s", bar="<= 6"),
        Row(name="(c) one requirement more: disk grown by", value=round(grown, 1), unit="% of the first", bar="<= 20"),
    ]  # fmt: skip


def chatty(bench: Bench) -> list[Row]:
    """An app that prints 50 MB/s, into a file and under the runner."""
    readme = README.format(title="chatty", gradio=GRADIO)
    bench.hub.add_space(
        "bench/chatty", {"README.md": readme, "app.py": CHATTY, "requirements.txt": f"gradio=={GRADIO}\n"}
    )
    theirs, ours = [], []
    whole = True
    for number in range(min(bench.pairs, 3)):
        app, took = bench.work / "chatty.py", bench.work / f"chatty-{number}"
        app.write_text(CHATTY)
        with (bench.work / "chatty.log").open("wb") as log:
            subprocess.run([sys.executable, str(app), str(took), "alone"], stdout=log, check=True, timeout=120)
        theirs.append(float(took.read_text()))
        _, space = bench.launch("bench/chatty", "took")
        took = bench.settings.space(space["id"]).app / "took"
        await_file(took)
        ours.append(float(took.read_text()))
        bench.command("stop", space["id"])
        whole = whole and in_order(bench, space["id"], 2_000_000)
    ratio = median(our / their for their, our in zip(theirs, ours, strict=True))
    return [
        Row(name="(d) 200 MB at 50 MB/s: slowed to", value=round(ratio, 3), unit="times", bar="<= 1.1"),
        Row(name="(d) lines in order, none missing, rotated files counted", value=int(whole), unit="", bar=">= 1"),
    ]


def at_rest(bench: Bench) -> list[Row]:
    """Twenty Spaces that run and do nothing."""
    readme = README.format(title="rest", gradio=GRADIO)
    shims = []
    for number in range(20):
        name = f"bench/rest-{number}"
        bench.hub.add_space(name, {"README.md": readme, "app.py": PLAIN, "requirements.txt": f"gradio=={GRADIO}\n"})
        _, space = bench.launch(name)
        shims.append(shim_of(space["id"], bench.settings))
    time.sleep(5)
    before, begun = sum(map(cpu_seconds, shims)), time.monotonic()
    time.sleep(30)
    busy = (sum(map(cpu_seconds, shims)) - before) / (time.monotonic() - begun) * 100
    largest = max(map(resident_mib, shims))
    return [
        Row(name="(e) a shim at rest, resident", value=round(largest, 1), unit="MiB", bar="<= 40"),
        Row(name="(e) twenty shims at rest, of one core", value=round(busy, 2), unit="%", bar="<= 1"),
    ]


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


def await_file(path: Path, deadline: float = 120) -> None:
    end = time.monotonic() + deadline
    while not (path.exists() and path.read_text()):
        if time.monotonic() > end:
            raise TimeoutError(str(path))
        time.sleep(0.1)


def forget(bench: Bench) -> None:
    """Everything but the package cache and the interpreters: the next launch is a first one."""
    for status in control.statuses(bench.settings):
        control.remove(status.id, bench.settings)
    for folder in (
        bench.settings.environments_dir,
        bench.settings.mirrors_dir,
        bench.settings.home_dir / "resolutions",
    ):
        shutil.rmtree(folder, ignore_errors=True)


def environment_seconds(bench: Bench, space_id: str) -> float:
    events = [event for _, event in control.events(space_id, bench.settings)]
    return next(e.seconds for e in events if isinstance(e, StepFinished) and e.step is Step.ENVIRONMENT)


def listing(folder: Path) -> set[Path]:
    return {path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")}


def disk(bench: Bench, folder: Path | None = None) -> int:
    """Bytes on disk, each file once however many names it has. Without `folder`: environments and uv's cache."""
    seen: dict[tuple[int, int], int] = {}
    cache = bench.settings.uv_cache_dir.resolve()
    for root in [folder] if folder else [bench.settings.environments_dir, cache]:
        for parent, _, names in os.walk(root):
            for name in names:
                status = Path(parent, name).lstat()
                seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def in_order(bench: Bench, space_id: str, total: int) -> bool:
    """Whether the log holds every line from some number to the last, and what was dropped was counted."""
    folder = bench.settings.space(space_id).logs
    rotated = sorted(folder.glob("run.log*[0-9]"), key=lambda path: -int(path.suffix[1:]))
    numbers = [
        int(line[:9])
        for file in (*rotated, folder / "run.log")
        for line in file.read_bytes().splitlines()
        if len(line) == 99 and line[:9].isdigit()
    ]
    dropped = (
        json.loads((folder / "run.log.dropped").read_text())["lines"] if (folder / "run.log.dropped").exists() else 0
    )
    first = numbers[0] if numbers else 0
    return numbers == list(range(first, total)) and abs(dropped - first) <= 50


def shim_of(space_id: str, settings: Settings) -> int:
    """The process id of a Space's shim."""
    shim = Store(settings).run(space_id).shim
    if shim is None:
        raise LookupError(f"{space_id} has no shim")
    return shim.pid


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    return next(
        int(line.split()[1]) / 1024 for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line
    )


if __name__ == "__main__":
    raise SystemExit(main())
