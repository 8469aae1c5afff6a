"""The page's own public link: a tunnel to its port, kept up. Knows the tunnel and the gate's hosts, not the page."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import httpx

from app.hosts import Hosts
from spaces_runner import tunnel
from spaces_runner.errors import RunnerError
from spaces_runner.settings import Settings

MISSES = 3  # looks in a row by which a link that says nothing is given up
HEALTH = "/healthz"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """The public link as it is now. Times are seconds since the epoch; `answered`: when it was last seen to work."""

    url: str | None = None
    since: float | None = None
    answered: float | None = None
    problem: str = ""  # why there is none, or what is wrong with it


@dataclass(slots=True)
class PageLink:
    """Opens the link in a thread, so that the page never waits for it, looks after it, and opens it anew when it is
    lost: its client ended, or nothing answers at it although the share server can be reached.

    `say` gets one line for each thing that happens; the link is said with the owner's token.
    """

    settings: Settings
    port: int
    token: str = field(repr=False)
    hosts: Hosts
    say: Callable[[str], None]
    retry_s: tuple[float, ...] = (5.0, 15.0, 60.0, 300.0)  # after a loss, after a failure, and after the next ones
    look_s: float = 60.0  # between two looks at it
    again_s: float = 10.0  # until the next look after one that failed
    answer_s: float = 15.0
    state: LinkState = LinkState()  # replaced as a whole, so that any thread may read it
    _tunnel: tunnel.Tunnel | None = None
    _lost: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str | None:
        return self.state.url

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
                self._watch()
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
            url = self._tunnel.start()
        except RunnerError as error:
            problem = f"{error.message} {error.hint}".strip()
            self.state = LinkState(problem=problem)
            self.say(f"No public link: {problem}")
            return False
        self.hosts.add(url)
        self.state = LinkState(url=url, since=time.time())
        self.say(f"Public link: {url}/?token={self.token}")
        return True

    def _watch(self) -> None:
        """Returns when the link is lost. While this machine has no connection at all it may come back by itself."""
        misses = 0
        while not self._lost.wait(self.again_s if misses else self.look_s):
            if self._answers():
                misses = 0
                self.state = replace(self.state, answered=time.time(), problem="")
                continue
            misses += 1
            self.state = replace(self.state, problem="The public link does not answer.")
            if misses >= MISSES and self._share_server_answers():
                return

    def _answers(self) -> bool:
        """Whether this very server is what answers at the link."""
        trust = ssl.create_default_context(cafile=self.settings.ca_file) if self.settings.ca_file else True
        try:
            answer = httpx.get(f"{self.url}{HEALTH}", timeout=self.answer_s, verify=trust)
            return answer.status_code == httpx.codes.OK and answer.json() == {"status": "ok"}
        except (httpx.HTTPError, ValueError):
            return False

    def _share_server_answers(self) -> bool:
        try:
            tunnel.prepare(self.settings)
        except RunnerError:
            return False
        return True

    def _close(self) -> None:
        if self._tunnel is not None:
            self._tunnel.stop()
        if self.url is not None:
            self.hosts.remove(self.url)
        self._tunnel, self.state = None, LinkState(problem="The public link was lost; a new one is opened.")
