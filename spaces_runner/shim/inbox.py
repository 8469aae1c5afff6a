"""Where a shim waits: for signals, for messages of its threads, for descriptors. Uses no time while nothing happens."""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import FrameType

Message = Callable[[], None]


class StopAsked(BaseException):
    """The owner, or the machine, wants the Space to end. No error, and not to be caught as one."""


class Inbox:
    """Made once, in the main thread. Threads `post` what the main thread is to do; it runs in `wait`."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._stop = False
        self._closed = False
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _on_child)

    def post(self, message: Message) -> None:
        """Have the main thread call `message` soon. From any thread."""
        self._messages.append(message)
        self._wake()

    def wait(self, descriptors: Iterable[int] = (), timeout: float | None = None) -> set[int]:
        """The descriptors that are ready, after at most `timeout` seconds (None: no limit).

        Also returns, with none, when a message was handled or a child ended. Raises StopAsked when a stop was asked.
        """
        poller = select.poll()
        for descriptor in (self._reader, *descriptors):
            poller.register(descriptor, select.POLLIN)
        self._handle()
        ready = {found for found, _ in poller.poll(None if timeout is None else max(0, timeout) * 1000)}
        self._handle()
        return ready - {self._reader}

    def sleep(self, seconds: float) -> None:
        """Wait that long, handling what comes. Raises StopAsked."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.wait(timeout=left)

    def pause(self, seconds: float) -> None:
        """Wait that long, leaving what comes for later: for whoever is in the middle of something. Raises StopAsked."""
        self.heed()
        time.sleep(seconds)

    def heed(self) -> None:
        """Raises StopAsked where a stop was asked."""
        if self._stop and not self._closed:
            raise StopAsked

    def ask_stop(self) -> None:
        self._stop = True
        self._wake()

    def no_more_stops(self) -> None:
        """From here on a stop is under way; another request changes nothing."""
        self._closed = True

    def _handle(self) -> None:
        try:
            while os.read(self._reader, 4096):
                pass
        except BlockingIOError:
            pass
        while self._messages:
            self._messages.popleft()()
        self.heed()

    def _wake(self) -> None:
        try:
            os.write(self._writer, b"!")
        except BlockingIOError:
            return  # full: it will wake up anyway

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True


def _on_child(_number: int, _frame: FrameType | None) -> None:
    """Nothing: that the signal is handled wakes the main thread."""
