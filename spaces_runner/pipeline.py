"""The child that builds a Space: reads its job from standard input, says events and, at the end, the launch plan.

    stdin   one Job, as JSON
    stdout  JSON lines: {"event": …} as things happen, at last {"plan": …}
    stderr  the build log, as text

It ends with 0 after the plan and with 1 after a Failed event.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from typing import Any, TextIO

from spaces_runner.codec import decode, encode
from spaces_runner.errors import RunnerError
from spaces_runner.job import Job
from spaces_runner.report import Reporter, encode_event
from spaces_runner.types import ErrorInfo, Event, Failed, LaunchPlan, Stage


def main() -> int:
    """Run the job on standard input."""
    job = decode(Job, json.load(sys.stdin))
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
    from spaces_runner.runner import build  # with it come git, libcst and the rest

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


def own_channel() -> TextIO:
    """Standard output for events alone: whatever a library prints goes to the build log."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def say(channel: TextIO, message: dict[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


if __name__ == "__main__":
    raise SystemExit(main())
