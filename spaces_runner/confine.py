"""Becomes another program, with few rights, that dies with who started it.

A program of its own, started by its path and alone (`python -I -S`), for machines without a recent util-linux. Its
arguments: the user id to become, the number of processes ("-": as they are), the number of open files, the command.
"""

import ctypes  # before the change of user, who may not be able to read our standard library
import os
import resource
import signal
import sys

# linux/prctl.h
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 1, 24, 38, 47, 4
CAPABILITIES = 64  # more than any kernel has


def main(uid: str, processes: str, files: str, *argv: str) -> None:
    """Does not return, or raises OSError."""
    parent = os.getppid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    limit(resource.RLIMIT_NOFILE, int(files))
    limit(resource.RLIMIT_CORE, 0)
    if processes != "-":
        limit(resource.RLIMIT_NPROC, int(processes))
    if uid != "-":
        for capability in range(CAPABILITIES):
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        become(int(uid))
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after the change of user, which clears it
    if os.getppid() == parent:  # else it died before the kernel was told
        os.execvp(argv[0], argv)


def limit(which: int, value: int) -> None:
    resource.setrlimit(which, (value, value))


def become(uid: int) -> None:
    """No rights of root's, not even by group."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


if __name__ == "__main__":
    main(*sys.argv[1:])
