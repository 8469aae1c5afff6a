"""The entry: `python -m spaces_runner.shim`, a Job on standard input. Goes to the background by itself.

Says "ready" on standard output once the run is registered, and closes it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from spaces_runner.variables import MARK

if TYPE_CHECKING:
    from spaces_runner.shim.supervisor import Supervisor


def main() -> None:
    """Leave the face behind, then run the job."""
    if os.fork() > 0:  # before all that is slow to import: the face waits for this half
        os._exit(0)
    supervisor, pipeline = begin()
    os.write(1, b"ready\n")
    os.dup2(2, 1)  # the face's pipe ends here
    supervisor.run(pipeline)


def begin() -> tuple[Supervisor, subprocess.Popen[bytes]]:
    """Take the job, which holds the owner's token: the supervisor alone has it then."""
    told = json.load(sys.stdin)
    pipeline = start_pipeline(told["run_id"])  # its imports and ours take as long, and so go on at once

    from spaces_runner.codec import decode
    from spaces_runner.job import Job
    from spaces_runner.shim.supervisor import Supervisor

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return Supervisor(decode(Job, told)), pipeline


def start_pipeline(run_id: str) -> subprocess.Popen[bytes]:
    """The child that builds. It gets its job when the run is registered, and dies with us."""
    return subprocess.Popen(
        (sys.executable, "-P", "-m", "spaces_runner.pipeline", str(os.getpid())),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, MARK: run_id},
        start_new_session=True,
    )


if __name__ == "__main__":
    main()
