"""Part (d) of the runner's benchmark: an app that prints 50 MB/s, into a plain file and under the runner."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.results import Row
from bench.runner_stage import GRADIO, README, Bench
from spaces_runner.logfile import dropped, files

LINES = 2_000_000
LINE_BYTES = 100
OTHERS = 50  # lines in the log that the app's web server or the runner wrote
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
    theirs, ours, wrong = [], [], 0
    for number in range(bench.pairs):
        theirs.append(printed_into_a_file(bench.work, number))
        took, log = printed_under_the_runner(bench)
        ours.append(took)
        found = list(faults(log, LINES, bench.settings.log_bytes, bench.settings.log_files))
        sys.stderr.write("".join(f"    round {number + 1}: {fault}\n" for fault in found))
        wrong += bool(found)
    ratio = median(our / their for their, our in zip(theirs, ours, strict=True))
    return [
        Row(name="(d) 200 MB at 50 MB/s: slowed to", value=round(ratio, 3), unit="times", bar="<= 1.1"),
        Row(name="(d) logs with a line or a rotated file missing, out of order or uncounted",
            value=wrong, unit=f"of {bench.pairs}", bar="<= 0"),
    ]  # fmt: skip


def printed_into_a_file(work: Path, number: int) -> float:
    """Seconds of printing into a plain file."""
    app, took = work / "chatty.py", work / f"chatty-{number}"
    app.write_text(CHATTY)
    with (work / "chatty.log").open("wb") as log:
        subprocess.run([sys.executable, str(app), str(took), "alone"], stdout=log, check=True, timeout=120)
    return float(took.read_text())


def printed_under_the_runner(bench: Bench) -> tuple[float, Path]:
    """Seconds of printing under the runner, and the log once the Space has ended."""
    launch = bench.launch("bench/chatty", "took")
    dirs = bench.settings.space(launch.id)
    took = float(awaited(dirs.app / "took"))
    bench.command("stop", launch.id)
    return took, dirs.run_log


def awaited(path: Path, deadline: float = 120) -> str:
    """What is in the file as soon as something is."""
    end = time.monotonic() + deadline
    while not (path.exists() and path.read_text()):
        if time.monotonic() > end:
            raise TimeoutError(str(path))
        time.sleep(0.1)
    return path.read_text()


def faults(log: Path, lines: int, limit: int, keep: int) -> Iterator[str]:
    """What is wrong with the log of an app that printed `lines` numbered lines of 100 bytes.

    Every line must be in it, in order, but for those of the oldest files: of the files of `limit` bytes that so many
    lines fill, `keep` are there, and the others are counted, with their lines and bytes.
    """
    kept, gone = files(log), dropped(log)
    numbers = [int(line[:9]) for file in kept for line in file.read_bytes().splitlines() if is_numbered(line)]
    first = numbers[0] if numbers else lines
    if numbers != list(range(first, lines)):
        yield f"of the lines from {first} to {lines - 1} some are missing or out of order"
    if abs(gone.lines - first) > OTHERS:
        yield f"{first} lines were dropped, and {gone.lines} counted"
    if abs(gone.bytes - first * LINE_BYTES) > OTHERS * LINE_BYTES:
        yield f"{first * LINE_BYTES} bytes were dropped, and {gone.bytes} counted"
    filled = lines * LINE_BYTES // limit + 1
    if len(kept) != min(keep, filled):
        yield f"{min(keep, filled)} files should be kept, and {len(kept)} are"
    if len(kept) + gone.files != filled:
        yield f"{filled} files were filled; {len(kept)} are kept and {gone.files} counted as dropped"


def is_numbered(line: bytes) -> bool:
    """Whether it is a line of the app's, whole."""
    return len(line) == LINE_BYTES - 1 and line[:9].isdigit()
