"""The program behind a cell: started, told what to do in one line, heard until it ends, interrupted with the cell.

Runs in the kernel, whose Python may be 3.8, with the standard library alone.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MODULE = "spaces_runner.notebook"


class Failed(RuntimeError):
    """What a cell was to do did not succeed. A notebook shows the message alone: its trace would be of this package."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def heard(python: str, root: Path, environ: Mapping[str, str], order: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the program says, one message after the other. Raises Failed with what it said last of a failure.

    An interruption of the cell is passed on, and the program heard to its end: it stops what it started. It has a
    session of its own, since Jupyter interrupts a kernel's whole process group.
    """
    with subprocess.Popen(
        [python, "-P", "-m", MODULE],
        cwd=str(root),
        env={**environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        failure = ""
        with _interrupting(process):
            for line in _lines(process, json.dumps(order)):
                message = _message(line)
                if message["kind"] == "failed":
                    failure = message["text"]
                else:
                    yield message
            process.wait()
        if process.returncode != 0:
            raise Failed(failure or f"Spaces Runner ended with exit code {process.returncode}.")


def _lines(process: subprocess.Popen[str], order: str) -> Iterator[str]:
    """Its output. Its input stays open: when it closes, this kernel is gone."""
    assert process.stdin and process.stdout, "both are pipes"
    process.stdin.write(order + "\n")
    process.stdin.flush()
    yield from process.stdout


@contextmanager
def _interrupting(process: subprocess.Popen[str]) -> Iterator[None]:
    """An interruption ends nothing in here, it goes to the program. The main thread alone gets it; cells run there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: process.send_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _message(line: str) -> dict[str, Any]:
    """One that is no JSON is an error of Python's own, and shown as it is."""
    try:
        message = json.loads(line)
        if isinstance(message, dict) and "kind" in message:
            return message
    except ValueError:
        pass
    return {"kind": "line", "text": line.rstrip("\n")}
