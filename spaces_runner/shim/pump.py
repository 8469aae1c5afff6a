"""Carries what a process prints into a log, in a thread of its own: an app never waits for anything else we do."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from threading import Thread

from spaces_runner.logfile import LogWriter

PIPE_BYTES = 1024**2  # the most an ordinary user may ask for


class Pump:
    """From the reading end of a pipe, which it closes, into a log, which it closes, too."""

    def __init__(self, log: LogWriter, reader: int) -> None:
        self._log, self._reader = log, reader
        with suppress(OSError):  # the user's share of pipe memory is used up: a small pipe works too
            fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._thread = Thread(target=self._run, name="pump", daemon=True)
        self._thread.start()

    def finish(self, timeout: float) -> None:
        """Wait until all that was printed is in the log; at most `timeout` seconds, since anyone may hold the pipe."""
        self._thread.join(timeout)

    def _run(self) -> None:
        lost: OSError | None = None
        try:
            while chunk := os.read(self._reader, PIPE_BYTES):
                lost = self._put(chunk, lost)
        finally:
            os.close(self._reader)
            with suppress(OSError):
                self._log.close()

    def _put(self, chunk: bytes, lost: OSError | None) -> OSError | None:
        """Log it, after a word on what was `lost` before it. Returns why it was lost, too: the app goes on."""
        try:
            if lost is not None:
                self._log.write(f"\nThe log has a gap here: {lost.strerror}\n".encode())
            self._log.write(chunk)
        except OSError as error:
            return error
        return None
