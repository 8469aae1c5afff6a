"""Becomes the tunnel client: checks what it is about to run, gives up its rights, and dies with who started it.

A program of its own, started by its path and alone (`python -I -S`), so that a small process can run the client without
a `preexec_fn`, and that the checksum is checked at every start. Arguments: the starter's process id, the user id to
become ("-": none), the SHA-256, the client, and the client's arguments.
"""

import ctypes  # before the change of user, who may not be able to read our standard library
import hashlib
import os
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h
WRONG_CHECKSUM = 3
CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}


def main(parent: str, uid: str, sha256: str, client: str, *arguments: str) -> int:
    """Returns only where the client may not run: its checksum is wrong, or the starter is gone."""
    descriptor = os.open(client, os.O_RDONLY)
    with open(descriptor, "rb", closefd=False) as file:  # the very file that is run below
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            sys.stdout.write(f"the checksum of {client} is wrong\n")
            return WRONG_CHECKSUM
    if uid != "-":
        become(int(uid))
    if sys.platform == "linux":
        bind_to_parent()
    if os.getppid() != int(parent):
        return 1  # it died before the kernel was told
    os.set_inheritable(descriptor, True)  # a client that is a script is read again by its interpreter
    return os.execve(descriptor if os.execve in os.supports_fd else client, [client, *arguments], CLEAN)


def become(uid: int) -> None:
    """No rights of root's, not even by group."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def bind_to_parent() -> None:
    """After the change of user, which clears the signal. It comes when the starting thread ends, not its process."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
