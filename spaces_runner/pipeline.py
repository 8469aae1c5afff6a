"""The child that builds a Space: reads its job from standard input, says events and, at the end, the launch plan.

    argument  the process that started it, with which it dies
    stdin     one Job, as JSON
    stdout    JSON lines: {"event": …} as things happen, at last {"plan": …}
    stderr    the build log, as text

It ends with 0 after the plan and with 1 after a Failed event.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from typing import Any, TextIO

from spaces_runner.codec import decode, encode
from spaces_runner.errors import RunnerError
from spaces_runner.job import Job
from spaces_runner.report import Reporter, encode_event
from spaces_runner.runner import build
from spaces_runner.types import ErrorInfo, Event, Failed, LaunchPlan, Stage

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> int:
    """Run the job on standard input; nothing where there is none."""
    die_with(int(sys.argv[1]))
    told = sys.stdin.read()
    if not told:
        return 0
    job = decode(Job, json.loads(told))
    channel = own_channel()
    reporter = Reporter(
        emit=lambda event: say(channel, {"event": encode_event(event)}),
        log=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201  # the build log is our stderr
    )
    outcome = attempt(job, reporter)
    if isinstance(outcome, LaunchPlan):
        say(channel, {"plan": encode(outcome)})
        return 0
    failed: Event = Failed(at=time.time(), error=outcome)
    say(channel, {"event": encode_event(failed)})
    return 1


def attempt(job: Job, reporter: Reporter) -> LaunchPlan | ErrorInfo:
    """The plan, or what went wrong as a value. The one place that catches everything: a run must end in either."""
    try:
        return build(job, reporter)
    except RunnerError as error:
        return error.info
    except Exception as error:  # noqa: BLE001  # a defect of ours must reach the owner as an error, too
        reporter.log(traceback.format_exc())
        return ErrorInfo(
            code="internal_error",
            stage=Stage.BUILD_ERROR,
            step=None,
            message=f"The runner itself failed: {type(error).__name__}: {error}",
            hint="The build log has the details. Please report it with them.",
        )


def die_with(parent: int) -> None:
    """Have the kernel kill us when the parent's main thread ends, which started us."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was told
        raise SystemExit(1)


def own_channel() -> TextIO:
    """Standard output for events alone: whatever a library prints goes to the build log."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def say(channel: TextIO, message: dict[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # taking the interpreter apart takes longer than a relaunch may wait
