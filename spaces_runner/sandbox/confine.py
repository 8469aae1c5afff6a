"""Becomes another program, with few rights, that dies with who started it.

A program of its own, started by its path and alone (`python -I -S`). Its arguments: the folder of the libraries it
needs, its orders as JSON (`Orders` in command.py), the command.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import sys
from pathlib import Path

TYPE_CHECKING = False  # importing typing takes longer than all the rest
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from landlockpy import AccessFS, Ruleset
    from pyseccomp import Arg, SyscallFilter

# linux/prctl.h
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 1, 24, 38, 47, 4
CAPABILITIES = 64  # more than any kernel has
# linux/sched.h: new namespaces, by which a user gets the privileges of root over parts of the kernel
NAMESPACES = (0x00000080, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
# What an app has no use for and attacks begin with; a container engine forbids most of it, too.
FORBIDDEN = (
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "bpf", "perf_event_open", "userfaultfd",
    "keyctl", "add_key", "request_key", "unshare", "setns",
    "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "open_by_handle_at", "quotactl", "quotactl_fd", "swapon", "swapoff", "acct",
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
    "settimeofday", "clock_settime", "sethostname", "setdomainname", "iopl", "ioperm", "vhangup",
)  # fmt: skip
# Programs ask for these and do without where a kernel has none.
UNKNOWN = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
LOADED_BY = {"seccomp": "libseccomp.so.2"}  # libc is loaded already
AF_ALG, AF_VSOCK = 38, 40  # sockets to the kernel's ciphers, and to the host of a virtual machine


def main(libraries: str, told: str, *argv: str) -> None:
    """Does not return, or raises OSError."""
    parent = os.getppid()
    confine(libraries, json.loads(told))
    if os.getppid() == parent:  # else it died before the kernel was told
        os.execvp(argv[0], argv)


def confine(libraries: str, orders: "dict[str, Any]") -> None:
    """Take this very process's rights away. Raises OSError where this machine cannot do as ordered."""
    sys.path.append(libraries)
    sys.modules["ctypes.util"] = vars(ctypes)["util"] = by_name()
    limit(orders)
    walls = enclosure(orders["read"], orders["write"]) if orders["enclosed"] else None
    rules = forbidden() if orders["filtered"] else None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if orders["uid"] is not None:
        for capability in range(CAPABILITIES):
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        become(orders["uid"])
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after the change of user, which clears it
    if walls is not None:
        walls.restrict()
        walls.close()
    if rules is not None:
        rules.load()


def by_name() -> "ModuleType":
    """What stands for `ctypes.util`: that runs programs, as root, to find what the loader finds by its name."""
    found = type(sys)("ctypes.util")
    vars(found)["find_library"] = LOADED_BY.get
    return found


def limit(orders: "dict[str, Any]") -> None:
    at_most(resource.RLIMIT_NOFILE, orders["files"])
    at_most(resource.RLIMIT_CORE, 0)
    if orders["processes"] is not None:
        at_most(resource.RLIMIT_NPROC, orders["processes"])


def at_most(which: int, value: int) -> None:
    resource.setrlimit(which, (value, value))


def become(uid: int) -> None:
    """No rights of root's, not even by group."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def enclosure(read: list[str], write: list[str]) -> "Ruleset":
    """What may be read and run, and what may be changed as well; nothing else is there. Signals stay inside."""
    from landlockpy import AccessNet, Ruleset, Scope

    walls = Ruleset(handled_net=AccessNet.NONE, scoped=Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET)
    for path in read:
        allow(walls, path, reading())
    for path in write:
        allow(walls, path, walls.handled_fs)
    allow(walls, "/dev", devices())
    allow(walls, "/proc", reading() | writing())  # a thread's name
    return walls


def reading() -> "AccessFS":
    from landlockpy import AccessFS

    return AccessFS.READ_FILE | AccessFS.READ_DIR | AccessFS.EXECUTE


def writing() -> "AccessFS":
    from landlockpy import AccessFS

    return AccessFS.WRITE_FILE | AccessFS.TRUNCATE


def devices() -> "AccessFS":
    """Those that this user may open: the GPU's, terminals, /dev/null."""
    from landlockpy import AccessFS

    return AccessFS.READ_FILE | AccessFS.READ_DIR | AccessFS.WRITE_FILE | AccessFS.IOCTL_DEV


def allow(walls: "Ruleset", path: str, access: "AccessFS") -> None:
    """Whatever is not there needs no permission."""
    from landlockpy import AccessFS

    try:
        of_files = AccessFS.READ_FILE | AccessFS.EXECUTE | AccessFS.WRITE_FILE | AccessFS.TRUNCATE | AccessFS.IOCTL_DEV
        walls.allow_path(path, access if Path(path).is_dir() else access & of_files)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return


def forbidden() -> "SyscallFilter":
    """The filter of system calls."""
    import pyseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refused, absent = pyseccomp.ERRNO(errno.EPERM), pyseccomp.ERRNO(errno.ENOSYS)
    for name in FORBIDDEN:
        add(rules, refused, name)
    for name in UNKNOWN:
        add(rules, absent, name)
    for flag in NAMESPACES:
        add(rules, refused, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    for family in (AF_ALG, AF_VSOCK):
        add(rules, refused, "socket", pyseccomp.Arg(0, pyseccomp.EQ, family))
    return rules


def add(rules: "SyscallFilter", action: int, name: str, *conditions: "Arg") -> None:
    """One call; there are some that a machine's architecture does not have."""
    import pyseccomp

    try:
        number = pyseccomp.resolve_syscall(pyseccomp.system_arch(), name)
    except (OSError, ValueError):
        return
    rules.add_rule(action, number, *conditions)


if __name__ == "__main__":
    main(*sys.argv[1:])
