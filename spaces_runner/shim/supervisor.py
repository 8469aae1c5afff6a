"""One Space's run from the job to its end: build, start, watch, restart, stop. The shim's main thread is in here.

    BUILDING -> APP_STARTING -> RUNNING -> STOPPED
                     |  ^          |
                     |  +- crash --+  1, 2, 4, 8 s later; after 5 in a row RUNTIME_ERROR
                     +-> RUNTIME_ERROR when it never answered at all

An app that ends by itself after RUNNING counts as crashed whatever its exit code: a Space is a server, and only its
owner stops it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import time
import traceback
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from spaces_runner import secrets
from spaces_runner.errors import LaunchError, RunnerError, SpaceBusy
from spaces_runner.job import Job
from spaces_runner.logfile import erase, tail
from spaces_runner.process import identify
from spaces_runner.shim import verdict
from spaces_runner.shim.app import Exit
from spaces_runner.shim.attempt import Attempt, Outcome
from spaces_runner.shim.build import Pipeline, build
from spaces_runner.shim.inbox import Inbox, StopAsked
from spaces_runner.shim.journal import Journal
from spaces_runner.shim.rooms import furnish, make_socket_dir
from spaces_runner.store import Store
from spaces_runner.types import ErrorInfo, Finding, LaunchPlan, Stage

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
CRASH_GRACE_S = 1.0  # for what a dead app left behind
TRIAGE_LINES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """When a crashed app is started again."""

    first_s: float = 1.0
    healthy_s: float = 60.0  # of running; a crash after that is the first again
    crashes: int = 5  # in a row, then no more

    def pause(self, crashes: int) -> float:
        return self.first_s * float(2 ** (crashes - 1))


class Supervisor:
    """Makes the calling process the shim of `job`: its signals and its children's deaths are handled here."""

    def __init__(self, job: Job, backoff: Backoff | None = None) -> None:
        self._for_pipeline: Job | None = job  # holds the owner's token; ours does not
        self._job = replace(job, settings=replace(job.settings, hf_token=None))
        self._backoff = backoff or Backoff()
        self._dirs = job.settings.space(job.space_id)
        self._store = Store(self._job.settings)
        self._inbox = Inbox()
        self._journal = Journal(self._store, job.run_id, self._inbox.pause)
        self._attempt: Attempt | None = None
        become_subreaper()
        me = identify(os.getpid())
        if me is None:
            raise LaunchError("This machine has no /proc, which is needed to tell processes apart.")
        if not self._journal.register(me):
            raise SpaceBusy("The run was ended before its shim was there.")

    def run(self, source: Pipeline | LaunchPlan) -> None:
        """Until the run has ended: of what the pipeline builds, or of what is built already."""
        try:
            furnish(self._dirs, self._job.user)
            outcome = source if isinstance(source, LaunchPlan) else self._build(source)
            error = self._serve(outcome) if isinstance(outcome, LaunchPlan) else outcome
            self._inbox.heed()  # a machine that shuts down ends the build or the app before us, or at once
            self._journal.failed(error)
        except StopAsked:
            self._inbox.no_more_stops()
            self._end(self._job.settings.stop_grace_s)
            self._journal.ended(Stage.STOPPED)
        except RunnerError as error:
            self._end(CRASH_GRACE_S)
            self._journal.failed(error.info)
        except Exception as error:  # noqa: BLE001  # the boundary: a defect of ours must not leave a run without an end
            traceback.print_exc()
            self._end(CRASH_GRACE_S)
            self._journal.failed(verdict.defect(error))
        finally:
            self._store.close()

    def _build(self, pipeline: Pipeline) -> LaunchPlan | ErrorInfo:
        """Hand the job to the pipeline, and forget the owner's token."""
        job, self._for_pipeline = self._for_pipeline or self._job, None
        token = job.settings.hf_token
        values = tuple(secrets.read(job.settings, job.space_id).values())
        try:
            return build(job, pipeline, self._inbox, self._journal, (*values, token) if token else values)
        finally:
            shutil.rmtree(self._dirs.build, ignore_errors=True)

    def _serve(self, plan: LaunchPlan) -> ErrorInfo:
        """Start the app, and start it again when it crashes. Returns why it is not started any more."""
        self._journal.planned(plan)
        erase(self._dirs.run_log)
        crashes = 0
        for restarts in count():
            outcome, seconds, ports, how = self._once(plan, restarts)
            lines = verdict.last_life(tail(self._dirs.run_log, TRIAGE_LINES))
            if outcome is not Outcome.READY and not restarts:
                return self._never_ran(plan, outcome, ports, how, lines)
            crashes = 1 if seconds >= self._backoff.healthy_s else crashes + 1
            if crashes >= self._backoff.crashes:
                return verdict.crash_loop(plan, crashes, how, lines, self._causes(lines, plan))
            pause = self._backoff.pause(crashes)
            self._journal.found(verdict.crashed(how, pause, lines))
            self._journal.starting(restarts + 1)
            self._inbox.sleep(pause)
            self._journal.patiently(partial(self._tell_next_life, restarts + 1))
        raise AssertionError("count() has no end")

    def _tell_next_life(self, restarts: int) -> None:
        """Nobody else writes the log now: the app's writer is closed."""
        with self._dirs.run_log.open("ab") as log:
            log.write(f"{verdict.NEXT_LIFE} {restarts}\n".encode())

    def _once(self, plan: LaunchPlan, restarts: int) -> tuple[Outcome, float, tuple[int, ...], Exit]:
        """One start to its end: whether it got ready, for how many seconds, what it listened on, how it ended."""
        self._journal.starting(restarts)
        attempt = self._attempt = Attempt(self._job, plan, self._inbox, self._journal, self._store)
        socket_dir = make_socket_dir(self._dirs, self._job.user)
        try:
            attempt.start(socket_dir)
            outcome = attempt.until_ready()
            ports = attempt.listening() if outcome is Outcome.LATE else ()
            begun = time.monotonic()
            if outcome is Outcome.READY:
                attempt.until_exit()
            seconds = time.monotonic() - begun
            how = attempt.end(CRASH_GRACE_S) or Exit(code=None, signal=None)
        finally:
            if socket_dir != self._dirs.run:
                shutil.rmtree(socket_dir, ignore_errors=True)
        self._journal.exited(how.code, how.signal)
        return outcome, seconds, ports, how

    def _never_ran(
        self, plan: LaunchPlan, outcome: Outcome, ports: tuple[int, ...], how: Exit, lines: list[str]
    ) -> ErrorInfo:
        trace = self._attempt.raised if self._attempt else ()
        findings = self._causes([*lines, *trace], plan)
        if outcome is Outcome.RAISED:
            return verdict.raised(trace, findings)
        if outcome is Outcome.LATE:
            return verdict.never_ready(plan, ports, lines, findings)
        return verdict.exited(plan, how, lines, findings)

    def _causes(self, lines: list[str], plan: LaunchPlan) -> tuple[Finding, ...]:
        findings = verdict.causes(lines, plan)
        for finding in findings:
            self._journal.found(finding)
        return findings

    def _end(self, grace_s: float) -> None:
        if self._attempt is not None:
            how = self._attempt.end(grace_s)
            if how is not None:
                self._journal.exited(how.code, how.signal)


def become_subreaper() -> None:
    """Have children that were left behind come to us and not to init, so that they can be found."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
