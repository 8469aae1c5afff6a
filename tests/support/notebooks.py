"""The project's notebooks in a real Jupyter kernel, as a platform runs them: with its variables and its directories."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.support.home import cache_directory

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0  # for a cell that makes an environment and starts a Space
END_S = 30.0  # for one that was told to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A notebook that is being executed, as `journal` has it: see notebook_client.py."""

    journal: Path
    process: subprocess.Popen[str]

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.journal.read_text()) if self.journal.exists() else {}
        return found

    @property
    def outputs(self) -> list[dict[str, Any]]:
        return list(self.told.get("outputs", ()))

    @property
    def failure(self) -> str:
        """What a cell raised."""
        return str(self.told.get("failure", ""))

    def text(self, mime: str = "text/plain") -> str:
        """Everything that its cells show now, of this kind; with "text/plain" also what they print."""
        printed = "text" if mime == "text/plain" else ""
        return "\n".join(output.get(printed) or output.get("data", {}).get(mime, "") for output in self.outputs)

    def until(self, words: str, mime: str = "text/plain") -> str:
        """What it shows once these words are in it."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in (shown := self.text(mime)):
            assert not self.told.get("ended"), f"{words!r} was never shown: {shown}\n{self.failure}"
            assert self.process.poll() is None, "the client ended"
            assert time.monotonic() < deadline, f"{words!r} is not shown: {shown}"
            time.sleep(0.1)
        return shown

    def interrupt(self) -> None:
        """As the front end's button does: the whole process group of the kernel hears it."""
        os.killpg(self.told["pid"], signal.SIGINT)

    def kill(self) -> None:
        """The kernel is gone, with no word to what it started."""
        os.killpg(self.told["pid"], signal.SIGKILL)

    def ended(self, timeout: float = END_S) -> str:
        """What it shows when its last cell has ended."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on: {self.text()}") from None
        return self.text()


@contextmanager
def running(
    name: str, environ: Mapping[str, str], parameters: Mapping[str, object], python: str = sys.executable
) -> Iterator[Running]:
    """`notebooks/NAME.ipynb` in a kernel of `python`, with `parameters` set after the cell that has them."""
    with tempfile.TemporaryDirectory(prefix="sr-notebook-") as folder:
        journal = Path(folder) / "journal.json"
        notebook = str(ROOT / "notebooks" / f"{name}.ipynb")
        told = {"notebook": notebook, "parameters": dict(parameters), "python": python, "journal": str(journal)}
        command = [sys.executable, "-m", "tests.support.notebook_client"]
        with subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, text=True) as process:
            assert process.stdin
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.close()
            made = Running(journal=journal, process=process)
            try:
                yield made
            finally:
                if process.poll() is None:
                    with suppress(KeyError, ProcessLookupError):  # it has no kernel yet, or none any more
                        made.kill()
                    process.kill()


@pytest.fixture(scope="session")
def old_kernel() -> str:
    """A Python that is too old for the runner, with a kernel and pip, as a platform's image has it."""
    found = sorted(Path(os.environ.get("PYENV_ROOT", "/nonexistent")).glob("versions/3.9.*/bin/python"))
    if not found:
        pytest.skip("there is no Python 3.9: pyenv would have it")
    target = cache_directory() / "kernel-3.9"
    python = target / "bin" / "python"
    with FileLock(f"{target}.lock"):
        if not (target / "made").exists():
            subprocess.run([str(found[0]), "-m", "venv", "--clear", str(target)], check=True, timeout=120)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "ipykernel"]
            subprocess.run(pip, check=True, timeout=300)
            (target / "made").touch()
    return str(python)


def until(holds: Callable[[], bool], timeout: float = END_S) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"{holds} did not come about within {timeout} s"
        time.sleep(0.1)
