"""The entry: `python -m spaces_runner.shim`, a Job on standard input. Goes to the background by itself.

Says "ready" on standard output once the run is registered, and closes it.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Leave the face behind, then run the job."""
    if os.fork() > 0:  # before anything is imported: the face waits for this half
        os._exit(0)
    import json

    from spaces_runner.codec import decode
    from spaces_runner.job import Job
    from spaces_runner.shim.supervisor import Supervisor

    job = decode(Job, json.load(sys.stdin))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    supervisor = Supervisor(job)
    os.write(1, b"ready\n")
    os.dup2(2, 1)  # the face's pipe ends here
    supervisor.run()


if __name__ == "__main__":
    main()
