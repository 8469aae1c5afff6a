"""One start of an app, as the shim's main thread sees it: started, waited for, watched, ended."""

from __future__ import annotations

import time
from enum import Enum, auto
from pathlib import Path

from spaces_runner import secrets
from spaces_runner.errors import ShareFailed, StateError
from spaces_runner.job import Job
from spaces_runner.ports import PortBlock, is_free
from spaces_runner.process import listening_ports
from spaces_runner.shim import app, verdict
from spaces_runner.shim.app import Answering, App, Exit, Listeners, Means
from spaces_runner.shim.inbox import Inbox
from spaces_runner.shim.journal import Journal
from spaces_runner.shim.links import Links
from spaces_runner.shim.reaper import Reaper
from spaces_runner.shim.rooms import leave_secrets
from spaces_runner.store import Store
from spaces_runner.types import LaunchPlan

REPORT_GRACE_S = 1.0  # a port that answers may still be about to be reported, with a link
DATABASE_EVERY_S = 2.0  # it is looked for so often
LINK_GRACE_S = 30.0  # ... and a link may take a while


class Outcome(Enum):
    """How waiting for an app ended."""

    READY = auto()
    EXITED = auto()
    LATE = auto()
    RAISED = auto()


class Attempt:
    """Made in the main thread, which alone calls its methods."""

    def __init__(self, job: Job, plan: LaunchPlan, inbox: Inbox, journal: Journal, store: Store) -> None:
        self._job, self._plan, self._inbox, self._journal, self._store = job, plan, inbox, journal, store
        self._reaper = Reaper()
        self._links = Links(job.settings, self._link_changed, self._no_link)
        self._app: App | None = None
        self._shown: Answering | None = None  # what RUNNING shows
        self._guess: Answering | None = None  # answers, but nothing reported it
        self._guess_at = 0.0
        self.raised: tuple[str, ...] = ()  # the traceback of a script that raised in place of serving

    def start(self, socket_dir: Path) -> None:
        """Raises LaunchError and PortTaken."""
        block = self._store.claim_ports(self._job.run_id, is_free)
        means = Means(
            ports=PortBlock(base=block.start, size=len(block)),
            socket_dir=socket_dir,
            secrets=secrets.read(self._job.settings, self._job.space_id),
            links=self._links,
            tell=Listeners(
                answering=self._answering,
                patch_failed=self._patch_failed,
                exported=self._exported,
                raised=self._raised,
            ),
        )
        if self._plan.secrets_file:
            home = self._job.settings.space(self._job.space_id).home
            leave_secrets(home, self._plan.secrets_file, means.secrets, self._plan.user)
        self._app = app.start(self._job, self._plan, means)
        self._journal.started(self._app.identity)
        if self._plan.share:
            self._links.prepare()

    def until_ready(self) -> Outcome:
        deadline = time.monotonic() + self._plan.ready_timeout_s
        while self._shown is None:
            if self.raised:
                return Outcome.RAISED
            left = deadline - time.monotonic()
            if left <= 0:
                return Outcome.LATE
            if self._wait(min(left, self._until_guess_counts())):
                return Outcome.EXITED
            if self._guess is not None and self._until_guess_counts() <= 0:
                self._show(self._guess)
        return Outcome.READY

    def until_exit(self) -> None:
        """Raises StateError where the state database was moved away: no face would find the Space, to stop it."""
        while not self._wait(DATABASE_EVERY_S):
            if not self._store.stands():
                raise StateError("The state database is another one now, which does not know this Space.")

    def listening(self) -> tuple[int, ...]:
        """The ports that the family listens on."""
        return listening_ports(self._app.family.members()) if self._app else ()

    def end(self, grace_s: float) -> Exit | None:
        """End what is left of it. How the app itself ended; None where it was never started."""
        if self._app is None:
            self._links.close()
            return None
        ended = self._app
        left = ended.end(grace_s)
        self._app = None  # now: where ending it failed, the run has not ended, and whoever sweeps is to find it
        if left:
            self._journal.found(verdict.survivors(tuple(member.pid for member in left)))
        if ended.container is not None and not ended.removed:
            self._journal.found(verdict.container_left(ended.container.name))
        self._journal.patiently(lambda: self._store.release_ports(self._job.run_id))
        if ended.identity in left:
            return None
        how = ended.exit()
        ended.close()
        return how

    # Inside

    def _wait(self, timeout: float | None) -> bool:
        """Wait for anything to happen. Whether the app has ended."""
        assert self._app is not None
        wakes = [seconds for seconds in (timeout, self._reaper.wake) if seconds is not None]
        ready = self._inbox.wait([self._app.pidfd], min(wakes, default=None))
        self._reaper.arm()
        self._reaper.look()
        return self._app.pidfd in ready

    def _until_guess_counts(self) -> float:
        """Seconds until a port that answers unreported is taken for the app."""
        if self._guess is None:
            return 3600.0
        grace = LINK_GRACE_S if self._links.busy else REPORT_GRACE_S
        return max(0.0, self._guess_at + grace - time.monotonic())

    def _show(self, answering: Answering) -> None:
        self._shown = answering
        # An app that reports again knows nothing of a link that came after its first report.
        self._tell(answering.local_url, answering.share_url or self._links.standing(answering.port))
        if self._plan.share and not answering.reported:
            self._links.open_soon(answering.port)

    def _tell(self, local_url: str, share_url: str | None) -> None:
        """Links lead to the page that the author wants seen first."""
        path = self._plan.base_path
        self._journal.running(at(local_url, path), share_url and at(share_url, path))
        if share_url is not None:
            self._journal.withdraw(ShareFailed.code)

    # Called from other threads; the main thread does what is to be done.

    def _answering(self, answering: Answering) -> None:
        self._inbox.post(lambda: self._take(answering))

    def _link_changed(self, port: int, url: str | None) -> None:
        self._inbox.post(lambda: self._relink(port, url))

    def _no_link(self, error: ShareFailed) -> None:
        self._inbox.post(lambda: self._journal.found(verdict.no_link(error)))

    def _patch_failed(self, patch: str, error: str) -> None:
        self._inbox.post(lambda: self._journal.found(verdict.unpatched(patch, error)))

    def _exported(self, name: str) -> None:
        self._inbox.post(lambda: self._journal.found(verdict.exported(name)))

    def _raised(self, lines: tuple[str, ...]) -> None:
        self._inbox.post(lambda: setattr(self, "raised", lines))

    def _take(self, answering: Answering) -> None:
        if self._app is None:  # it has ended meanwhile
            return
        if answering.reported:
            self._show(answering)
        elif self._shown is None:
            self._guess, self._guess_at = answering, time.monotonic()

    def _relink(self, port: int, url: str | None) -> None:
        if self._app is not None and self._shown is not None and self._shown.port == port:
            self._tell(self._shown.local_url, url)


def at(url: str, path: str) -> str:
    """`url` with `path` ("" or "/…") at its end."""
    return url.rstrip("/") + path if path else url
