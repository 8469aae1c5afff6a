"""Becomes an engine's client that is asked to end when its starter dies: it hands that on to its container.

A program of its own, started by its path and alone (`python -I -S`). Its arguments: the starter's process id, the
command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: str, *argv: str) -> None:
    """Does not return, or raises OSError."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() == int(parent):  # else it died before the kernel was told
        os.execvp(argv[0], argv)


if __name__ == "__main__":
    main(*sys.argv[1:])
