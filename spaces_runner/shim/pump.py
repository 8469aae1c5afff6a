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
        try:
            while chunk := os.read(self._reader, PIPE_BYTES):
                self._log.write(chunk)
        except OSError as error:  # the disk is full: the app goes on, its output is lost
            self._lose(error)
        finally:
            os.close(self._reader)
            with suppress(OSError):
                self._log.close()

    def _lose(self, error: OSError) -> None:
        with suppress(OSError):
            self._log.write(f"\nThe log ends here: {error.strerror}\n".encode())
        while os.read(self._reader, PIPE_BYTES):
            pass
