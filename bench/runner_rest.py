"""Parts (d) and (e) of the runner's benchmark: an app that prints much, and twenty that do nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from bench.results import Row
from bench.runner_stage import GRADIO, README, Bench
from spaces_runner.settings import Settings
from spaces_runner.store import Store

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


def await_file(path: Path, deadline: float = 120) -> None:
    end = time.monotonic() + deadline
    while not (path.exists() and path.read_text()):
        if time.monotonic() > end:
            raise TimeoutError(str(path))
        time.sleep(0.1)


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
