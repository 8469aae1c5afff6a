"""`scripts/bench runner`: from paste to page, against the recipe people use; relaunch, sharing, logs and rest.

Both sides of a pair run right after each other on the same machine; what counts is the median of their ratios.
Byte code may be written on both sides: pip compiles what it installs, each time anew; the runner keeps its own beside
the package cache, which is warm as pip's is.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from bench.results import Row, publish
from bench.runner_logs import chatty
from bench.runner_rest import at_rest
from bench.runner_second import second
from bench.runner_stage import Bench, await_page, by_hand, forget, stage, started_by_hand
from spaces_runner.store import Store

PAIRS = 5  # of which the medians are


def main() -> int:
    """Measure and publish. Fewer parts, by `--only`, or another number of `--pairs` are not published."""
    parts = {"a": recipe, "b": relaunch, "c": second, "d": chatty, "e": at_rest}
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--only", default="".join(parts))
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the Spaces are removed then, too
    rows: list[Row] = []
    with stage(wanted.pairs) as bench:
        for letter in filter(wanted.only.count, parts):
            sys.stderr.write(f"({letter}) {(parts[letter].__doc__ or '').splitlines()[0]}\n")
            found = parts[letter](bench)
            sys.stderr.write("".join(f"    {row.name}: {row.value:g} {row.unit} {row.bar}\n" for row in found))
            rows += found
    if wanted.pairs == PAIRS and set(wanted.only) >= set(parts):
        return publish("runner", rows)
    return 0


def recipe(bench: Bench) -> list[Row]:
    """The recipe people use against one command, from paste to the first page, package caches warm."""
    by_hand(bench, bench.work / "warm")  # both caches: pip's and uv's
    bench.launch("bench/plain")
    theirs, ours = [], []
    for number in range(bench.pairs):
        theirs.append(by_hand(bench, bench.work / f"recipe-{number}"))
        forget(bench)
        ours.append(bench.launch("bench/plain").seconds)
    ratio = median(their / our for their, our in zip(theirs, ours, strict=True))
    return [
        Row(name="(a) the recipe, paste to first page", value=round(median(theirs), 2), unit="s"),
        Row(name="(a) spaces-runner run, paste to first page", value=round(median(ours), 2), unit="s"),
        Row(name="(a) faster than the recipe", value=round(ratio, 2), unit="times", bar=">= 4"),
    ]


def relaunch(bench: Bench) -> list[Row]:
    """A relaunch against plain `python app.py` in the same environment."""
    space_id = bench.launch("bench/plain").id
    dirs = bench.settings.space(space_id)
    python = next((dirs.venv / "bin").glob("python"))
    theirs, ours, commands = [], [], []
    for _ in range(bench.pairs):
        bench.command("stop", space_id)
        theirs.append(started_by_hand([str(python), "app.py"], dirs.app))
        answered, returned = relaunched(bench, space_id)
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


if __name__ == "__main__":
    raise SystemExit(main())
