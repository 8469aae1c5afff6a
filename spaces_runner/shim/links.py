"""The public links of one launch: opened when asked for, opened again when lost. A missing link never ends a run."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, Thread

from spaces_runner.errors import ShareFailed
from spaces_runner.settings import Settings
from spaces_runner.tunnel import Ticket, Tunnel, fetch_ticket

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # between tries for a link that was lost
LATEST_S = 1800.0  # ... and for one that could not be had, at most: most often there is no way out at all


class Links:
    """`on_change(port, url)` tells of a link that was lost (None) or is another one now; `on_failed` why there is none.

    Both are called from threads of ours.
    """

    def __init__(
        self,
        settings: Settings,
        on_change: Callable[[int, str | None], None],
        on_failed: Callable[[ShareFailed], None],
    ) -> None:
        self._settings, self._on_change, self._on_failed = settings, on_change, on_failed
        self._lock = Lock()
        self._closed = Event()
        self._ticket: Ticket | None = None
        self._ticket_failed = False
        self._tunnels: dict[int, Tunnel] = {}
        self._wanted: set[int] = set()  # ports whose link could not be had
        self.busy = False  # somebody waits for a link at this moment

    def prepare(self) -> None:
        """Fetch what a tunnel needs while the app still starts."""
        Thread(target=self._prefetch, name="ticket", daemon=True).start()

    def open(self, port: int) -> str | None:
        """The public link of a local port, the standing one when it is asked for again; None where none can be had."""
        self.busy = True
        try:
            with self._lock:
                return self._opened(port)
        finally:
            self.busy = False

    def standing(self, port: int) -> str | None:
        """The public link that a local port has at this moment.

        Does not wait for the lock, which is held while a server is asked: the shim's main thread wants to know.
        """
        tunnel = self._tunnels.get(port)
        return tunnel.url if tunnel else None

    def open_soon(self, port: int) -> None:
        """Open a link nobody waits for; `on_change` tells of it."""
        Thread(target=self._open_and_tell, args=(port,), name="link", daemon=True).start()

    def close(self) -> None:
        """End all tunnels. Can be called again."""
        self._closed.set()
        with self._lock:
            tunnels = list(self._tunnels.values())
            self._tunnels.clear()
        for tunnel in tunnels:
            tunnel.stop()

    def _open_and_tell(self, port: int) -> None:
        if (url := self.open(port)) is not None:
            self._on_change(port, url)

    def _prefetch(self) -> None:
        with self._lock:
            self._get_ticket()

    def _opened(self, port: int) -> str | None:
        if port in self._tunnels:
            return self._tunnels[port].url
        ticket = self._get_ticket()
        if self._closed.is_set():
            return None
        try:
            if ticket is not None:
                return self._start(ticket, port)
        except ShareFailed as error:
            self._on_failed(error)
        if port not in self._wanted:
            self._wanted.add(port)
            pauses = (self._settings.link_retry_s, LATEST_S)
            Thread(target=self._keep_trying, args=(port, *pauses), name="later", daemon=True).start()
        return None

    def _start(self, ticket: Ticket, port: int) -> str:
        tunnel = Tunnel(ticket, port, on_lost=lambda: self._lost(port))
        url = tunnel.start()
        self._tunnels[port] = tunnel
        return url

    def _get_ticket(self) -> Ticket | None:
        if self._ticket is None and not self._ticket_failed and not self._closed.is_set():
            try:
                self._ticket = fetch_ticket(self._settings)
            except ShareFailed as error:
                self._ticket_failed = True
                self._on_failed(error)
        return self._ticket

    def _lost(self, port: int) -> None:
        """The client died by itself: called in its thread, which ends then."""
        if not self._closed.is_set():
            Thread(target=self._reopen, args=(port,), name="reopen", daemon=True).start()

    def _reopen(self, port: int) -> None:
        with self._lock:
            self._tunnels.pop(port, None)
        self._on_change(port, None)
        self._keep_trying(port, FIRST_PAUSE_S, LONGEST_PAUSE_S)

    def _keep_trying(self, port: int, pause: float, longest: float) -> None:
        """Until there is a link, or no use for one."""
        while not self._closed.wait(pause):
            pause = min(pause * 2, longest)
            try:
                url = self._opened_anew(port)
            except ShareFailed:
                continue  # it was said when it was lost
            if url is not None:
                self._on_change(port, url)
            return

    def _opened_anew(self, port: int) -> str | None:
        """A link by a new ticket, or the one that somebody opened meanwhile; None where there is no use for one."""
        with self._lock:
            if port in self._tunnels:
                return self._tunnels[port].url
            self._ticket = fetch_ticket(self._settings)  # the server may have moved
            return None if self._closed.is_set() else self._start(self._ticket, port)
