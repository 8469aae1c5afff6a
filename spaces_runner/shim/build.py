"""Runs a build in the pipeline: hands it the job, takes down what it says, and brings back the plan or the error."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from typing import IO, Any

from spaces_runner.codec import decode, encode
from spaces_runner.job import Job
from spaces_runner.logfile import LogWriter, erase, tail
from spaces_runner.process import Family, identify
from spaces_runner.report import decode_event
from spaces_runner.shim.inbox import Inbox
from spaces_runner.shim.journal import Journal
from spaces_runner.shim.pump import Pump
from spaces_runner.types import ErrorInfo, Failed, LaunchPlan, Stage

END_S = 1.0  # for the pipeline to end after its last word
Pipeline = subprocess.Popen[bytes]  # with pipes for its input, its events and its log


def build(
    job: Job, pipeline: Pipeline, inbox: Inbox, journal: Journal, secrets: tuple[str, ...]
) -> LaunchPlan | ErrorInfo:
    """The pipeline's outcome. When a stop is asked, all that it started is ended before StopAsked goes on."""
    if pipeline.stdin is None or pipeline.stdout is None or pipeline.stderr is None:
        raise ValueError("the pipeline was started without pipes")
    path = job.settings.space(job.space_id).build_log
    erase(path)
    log = LogWriter(path, limit=job.settings.log_bytes, keep=2, secrets=secrets)
    pump = Pump(log, os.dup(pipeline.stderr.fileno()))
    root = identify(pipeline.pid)
    family = Family(mark=job.run_id, user=job.user, roots=(root,) if root else (), adopting=True)
    listener = _Listener(journal)
    try:
        _hand_over(job, pipeline.stdin)
        _listen(pipeline.stdout, inbox, listener)
        with suppress(subprocess.TimeoutExpired):  # nothing more to say: it ends by itself, sooner than by being killed
            pipeline.wait(END_S)
    finally:
        family.end(1.0)
        pump.finish(2.0)
        pipeline.stdout.close()
        pipeline.stderr.close()
    return listener.outcome or _silent(pipeline.wait(), tail(path, 20))


class _Listener:
    """Takes the pipeline's lines."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pending = b""
        self.outcome: LaunchPlan | ErrorInfo | None = None

    def feed(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        if "plan" in message:
            self.outcome = decode(LaunchPlan, message["plan"])
            return
        event = decode_event(message["event"])
        self._journal.note(event)
        if isinstance(event, Failed):
            self.outcome = event.error


def _hand_over(job: Job, channel: IO[bytes]) -> None:
    try:
        with channel:
            channel.write(json.dumps(encode(job)).encode())
    except BrokenPipeError:  # it ended at once; its log and exit code say why
        return


def _listen(events: IO[bytes], inbox: Inbox, listener: _Listener) -> None:
    descriptor = events.fileno()
    while True:
        if descriptor in inbox.wait([descriptor]):
            data = os.read(descriptor, 65536)
            if not data:
                return
            listener.feed(data)


def _silent(code: int, lines: list[str]) -> ErrorInfo:
    """The error of a pipeline that ended without a word: killed from outside, or out of memory."""
    how = f"by signal {-code}" if code < 0 else f"with code {code}"
    return ErrorInfo(
        code="internal_error",
        stage=Stage.BUILD_ERROR,
        step=None,
        message=f"The build ended {how} and did not say why.",
        hint="Perhaps the machine ran out of memory. Start it again; the build log has what it said last.",
        lines=tuple(lines),
    )
