"""The page's own public link: a tunnel to its port, kept up. Knows the tunnel and the gate's hosts, not the page."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from app.hosts import Hosts
from spaces_runner import tunnel
from spaces_runner.errors import RunnerError
from spaces_runner.settings import Settings


@dataclass(slots=True)
class PageLink:
    """Opens the link in a thread, so that the page never waits for it, and opens it again when it is lost.

    `say` gets one line for each thing that happens; the link is said with the owner's token.
    """

    settings: Settings
    port: int
    token: str = field(repr=False)
    hosts: Hosts
    say: Callable[[str], None]
    retry_s: tuple[float, ...] = (5.0, 15.0, 60.0, 300.0)  # after a loss, after a failure, and after the next ones
    url: str | None = None
    _tunnel: tunnel.Tunnel | None = None
    _lost: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self._keep, name="page-link", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        self._lost.set()
        self._close()

    def _keep(self) -> None:
        failures = 0
        while not self._ended.is_set():
            if self._open():
                failures = 0
                self._lost.wait()
                self._close()
                if not self._ended.is_set():
                    self.say("The public link was lost; opening a new one.")
            else:
                failures += 1
            self._ended.wait(self.retry_s[min(failures, len(self.retry_s) - 1)])

    def _open(self) -> bool:
        self._lost.clear()
        try:
            self._tunnel = tunnel.Tunnel(tunnel.prepare(self.settings), self.port, self._lost.set)
            self.url = self._tunnel.start()
        except RunnerError as error:
            hint = f" {error.hint}" if error.hint else ""
            self.say(f"No public link: {error.message}{hint}")
            return False
        self.hosts.add(self.url)
        self.say(f"Public link: {self.url}/?token={self.token}")
        return True

    def _close(self) -> None:
        if self._tunnel is not None:
            self._tunnel.stop()
        if self.url is not None:
            self.hosts.remove(self.url)
        self._tunnel, self.url = None, None
