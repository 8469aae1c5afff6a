"""Part (e) of the runner's benchmark: twenty Spaces that do nothing.

Nothing is timed here, so nothing is a median: memory is the largest shim's, the processor's share that of all over
half a minute.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.results import Row
from bench.runner_stage import GRADIO, README, Bench
from spaces_runner.settings import Settings
from spaces_runner.store import Store

SPACES = 20
SETTLING_S = 5.0
WATCHED_S = 30.0
PLAIN = """import http.server
http.server.HTTPServer(("0.0.0.0", 7860), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def at_rest(bench: Bench) -> list[Row]:
    """Twenty Spaces that run and do nothing."""
    readme = README.format(title="rest", gradio=GRADIO)
    shims = []
    for number in range(SPACES):
        name = f"bench/rest-{number}"
        bench.hub.add_space(name, {"README.md": readme, "app.py": PLAIN, "requirements.txt": f"gradio=={GRADIO}\n"})
        shims.append(shim_of(bench.launch(name).id, bench.settings))
    time.sleep(SETTLING_S)
    before, begun = sum(map(cpu_seconds, shims)), time.monotonic()
    time.sleep(WATCHED_S)
    busy = (sum(map(cpu_seconds, shims)) - before) / (time.monotonic() - begun) * 100
    largest = max(map(resident_mib, shims))
    return [
        Row(name="(e) a shim at rest, resident, the largest of twenty",
            value=round(largest, 1), unit="MiB", bar="<= 40"),
        Row(name=f"(e) twenty shims at rest, of one core over {WATCHED_S:g} s",
            value=round(busy, 2), unit="%", bar="<= 1"),
    ]  # fmt: skip


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
