"""Stays with a Space that runs: shows its links when they change and the time that is left, and has the state saved."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from spaces_runner.handle import Space
from spaces_runner.notebook.countdown import Countdown
from spaces_runner.notebook.forward import Forward
from spaces_runner.notebook.host import Host
from spaces_runner.notebook.keep import Keeper
from spaces_runner.notebook.tell import Tell
from spaces_runner.types import SpaceStatus

LOOK_S = 0.5


@dataclass(slots=True, kw_only=True)
class Stay:
    host: Host
    countdown: Countdown
    keeper: Keeper
    tell: Tell
    forward: Forward | None  # behind the platform's own link
    _links: tuple[str | None, str | None] = field(default=(None, None), init=False)
    _next: float = field(default=0.0, init=False)  # when the time that is left is shown again
    _warned: bool = field(default=False, init=False)

    def until_it_ends(self, space: Space) -> SpaceStatus:
        """Returns what it is then."""
        while (status := space.status).stage.active:
            self._lead_to(status)
            self._show_time(time.time())
            self.keeper.save_when_due(time.monotonic())
            time.sleep(LOOK_S)
        return status

    def _lead_to(self, status: SpaceStatus) -> None:
        """A Space that starts again after a crash may have another port and another link."""
        if self.forward is not None:
            self.forward.port = urlsplit(status.local_url or "").port
        if (links := (status.local_url, status.share_url)) != self._links:
            self._links = links
            self.tell.links(status, self.host.native if self.forward else None, self.host.platform)

    def _show_time(self, now: float) -> None:
        if now >= self._next and (text := self.countdown.text(now)):
            self._next = now + self.countdown.step(now)
            self.tell.left(text)
        if self.countdown.near(now) and not self._warned:
            self._warned = True
            self.keeper.save()
            self.tell.line("The end is near. Run this notebook again on the next machine: it goes on from here.")
