"""Reads the objects of a bare repository: one `git cat-file --batch`, asked again and again. Knows no meaning of them.

Own code in place of GitPython's: importing that takes longer than the whole reading, and a relaunch fetches nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import IO, BinaryIO

from spaces_runner.errors import CheckoutError

PIECE = 1 << 20  # bytes
_AGAIN = "Start it again. If that does not help, remove the Space's copy with: spaces-runner prune"


class Objects:
    """Not for several threads. `start` starts the command with pipes at both ends, at the first question."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, sha: str) -> bytes:
        """An object's content, whole. Raises CheckoutError where it is not here."""
        answers, size = self._ask(sha)
        content = answers.read(size)
        if len(content) != size or answers.read(1) != b"\n":
            raise self._unreadable(sha)
        return content

    def copy(self, sha: str, target: BinaryIO) -> None:
        """Write an object's content to a file, in pieces. Raises CheckoutError."""
        answers, left = self._ask(sha)
        while left and (piece := answers.read(min(left, PIECE))):
            target.write(piece)
            left -= len(piece)
        if left or answers.read(1) != b"\n":
            raise self._unreadable(sha)

    def close(self) -> None:
        """End the command, which only reads. Can be called again, and another question starts it anew."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, sha: str) -> tuple[IO[bytes], int]:
        """Where the answer is read from, and its bytes. A line break stands after them."""
        self._process = process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise ValueError("the command was started without pipes")
        try:
            process.stdin.write(f"{sha}\n".encode())
            process.stdin.flush()
        except BrokenPipeError:
            raise self._unreadable(sha) from None
        head = process.stdout.readline().split()  # object, type, size; or object, "missing"
        if len(head) != 3:
            raise self._unreadable(sha)
        return process.stdout, int(head[2])

    def _unreadable(self, sha: str) -> CheckoutError:
        return CheckoutError("git could not read its copy of the Space.", hint=_AGAIN, lines=(f"object {sha}",))
