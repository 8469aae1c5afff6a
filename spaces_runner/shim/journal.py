"""What a shim writes down of its run: events, and the columns of the run's row that change with them."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

from spaces_runner.errors import StateFull
from spaces_runner.process import Identity
from spaces_runner.store import Store
from spaces_runner.types import (
    ErrorInfo,
    Event,
    Exited,
    Failed,
    Finding,
    Found,
    LaunchPlan,
    Stage,
    StageChanged,
    Step,
    StepFinished,
    StepStarted,
)

ROOM_EVERY_S = 0.5  # a full disk is looked at so often
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))


class Journal:
    """One run's. Only the shim's main thread writes.

    A full disk ends no run: what is to be written down waits until there is room, `pause` seconds at a time.
    """

    def __init__(self, store: Store, run_id: str, pause: Callable[[float], None]) -> None:
        self._store, self._run_id, self._pause = store, run_id, pause
        self._findings: list[Finding] = []
        self._error: ErrorInfo | None = None
        self._share_url: str | None = None
        self._local_url: str | None = None
        self.stage = Stage.BUILDING

    def register(self, shim: Identity) -> bool:
        """Write down who the shim is. False where the run was stopped before."""
        return self._store.attach(self._run_id, shim)

    def note(self, event: Event) -> None:
        """Write down what the pipeline says."""
        changes: dict[str, Any] = {}
        if isinstance(event, StepStarted):
            changes["step"] = event.step
        elif isinstance(event, StepFinished):
            changes["step"] = None
        elif isinstance(event, Found):
            if event.finding in self._findings:
                return
            self._findings.append(event.finding)
            changes["findings"] = self._findings
        elif isinstance(event, Failed):
            self._error = changes["error"] = event.error
        self._record(event, changes)

    def found(self, finding: Finding) -> None:
        self.note(Found(at=time.time(), finding=finding))

    def withdraw(self, code: str) -> None:
        """Findings of this code hold no longer. That they once did, the events still say."""
        left = [finding for finding in self._findings if finding.code != code]
        if len(left) < len(self._findings):
            self._findings = left
            self.change(findings=left)

    def change(self, **changes: Any) -> None:
        """Columns of the run's row, without an event."""
        self.patiently(lambda: self._store.update(self._run_id, changes))

    def planned(self, plan: LaunchPlan) -> None:
        """What the plan tells, which is what `restart` and the faces need later."""
        for finding in plan.findings:
            if finding not in self._findings:
                self._findings.append(finding)
        self.change(commit_id=plan.revision or None, diff=plan.diff, findings=self._findings)

    def starting(self, restarts: int) -> None:
        """The app is about to be started, or waits to be started again."""
        self._local_url = self._share_url = None
        changes = {"restarts": restarts, "local_url": None, "share_url": None}
        self._enter(Stage.APP_STARTING, {**changes, "step": Step.LAUNCH})

    def started(self, app: Identity) -> None:
        self.change(app=app, exit_code=None)

    def running(self, local_url: str, share_url: str | None) -> None:
        """The app answers. Says nothing where that is known already."""
        if (self.stage, self._local_url, self._share_url) == (Stage.RUNNING, local_url, share_url):
            return
        self._local_url, self._share_url = local_url, share_url
        changes: dict[str, Any] = {"local_url": local_url, "share_url": share_url, "step": None}
        if self.stage is not Stage.RUNNING:
            changes["ready"] = time.time()
        self._enter(Stage.RUNNING, changes)

    def exited(self, code: int | None, signal: int | None) -> None:
        """The app ended. The exit code of one that a signal ended is that of a shell: 128 and the signal."""
        shown = code if signal is None else 128 + signal
        self._record(Exited(at=time.time(), code=code, signal=signal), {"exit_code": shown})

    def failed(self, error: ErrorInfo) -> None:
        """The run ended in an error. One that the pipeline has said itself is not said again."""
        if error != self._error:
            self.note(Failed(at=time.time(), error=error))
        self.ended(error.stage)

    def ended(self, stage: Stage) -> None:
        self._local_url = self._share_url = None
        self._enter(stage, {"ended": time.time(), "step": None, "local_url": None, "share_url": None})

    def _enter(self, stage: Stage, changes: dict[str, Any]) -> None:
        self.stage = stage
        event = StageChanged(at=time.time(), stage=stage, local_url=self._local_url, share_url=self._share_url)
        self._record(event, {"stage": stage, **changes})

    def patiently(self, write: Callable[[], None]) -> None:
        """Have `write` done, once its disk has room for it."""
        while True:
            try:
                return write()
            except StateFull:
                self._pause(ROOM_EVERY_S)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._pause(ROOM_EVERY_S)

    def _record(self, event: Event, changes: dict[str, Any]) -> None:
        self.patiently(lambda: self._store.record(self._run_id, event, changes))
