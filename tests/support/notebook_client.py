"""`python -m tests.support.notebook_client`: executes a notebook and writes down all the while what it shows.

A process of its own, because nbclient leaves sockets of its kernel open. It is told by a line of JSON
on standard input.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

EVERY_S = 0.1


class Journal:
    """What is known of an execution, in `path`: always whole."""

    def __init__(self, path: Path, notebook: nbformat.NotebookNode, manager: KernelManager) -> None:
        self._path, self._notebook, self._manager = path, notebook, manager
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep)

    def __enter__(self) -> Journal:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.write()

    def write(self, failure: str = "", ended: bool = False) -> None:
        provisioner: Any = self._manager.provisioner
        outputs = [output for cell in self._notebook.cells for output in cell.get("outputs", ())]
        told = {"pid": provisioner and provisioner.pid, "outputs": outputs, "failure": failure, "ended": ended}
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(told))
        part.replace(self._path)


def main() -> None:
    told = json.loads(sys.stdin.readline())
    notebook = nbformat.read(told["notebook"], as_version=4)
    place = next(number for number, cell in enumerate(notebook.cells) if cell["id"] == "parameters")
    lines = "\n".join(f"{name} = {value!r}" for name, value in told["parameters"].items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(lines))
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(argv=[told["python"], "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    resources = {"metadata": {"path": str(Path(told["notebook"]).parent)}}
    client = NotebookClient(notebook, km=manager, timeout=None, resources=resources)
    failure = ""
    journal = Journal(Path(told["journal"]), notebook, manager)
    with journal:
        try:
            client.execute()
        except (CellExecutionError, RuntimeError) as error:  # the latter: its kernel died
            failure = str(error)
    journal.write(failure, ended=True)


if __name__ == "__main__":
    main()
