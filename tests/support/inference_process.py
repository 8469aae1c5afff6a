"""The real core, `python -m app.inference serve`, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
TOKEN = "token-of-the-real-core"
STOP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    url: str
    process: subprocess.Popen[str]
    ready: dict[str, Any]  # what it said when it answered

    def client(self, timeout: float = 180) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=timeout)

    def model(self, name: str) -> dict[str, Any]:
        with self.client() as client:
            described: dict[str, Any] = client.get(f"/v1/models/{name}").raise_for_status().json()
            return described


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[Core]:
    """A core with one thread, told to stop when the context is left; it must then end within STOP_S."""
    own = {"SPACES_RUNNER_HOME": str(home), "SPACES_RUNNER_CORE_TOKEN": TOKEN}
    environ = {**os.environ, **own, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "app.inference", "serve", "--json", "--threads", "1", "--port", "0", *arguments]
    log = home / "core.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        ready = ready_line(process, log)
        yield Core(url=ready["url"], process=process, ready=ready)
        process.terminate()
        assert process.wait(STOP_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def ready_line(process: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    """Its first line. A core that dies closes its output; one that hangs is ended by the test's own deadline."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the core did not start: {log.read_text()}"
    said: dict[str, Any] = json.loads(line)
    return said
