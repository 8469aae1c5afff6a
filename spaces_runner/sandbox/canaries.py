"""Tries to get out of the sandbox, and says what it could do. A program of its own; knows nothing but its traps.

Its arguments: those of `confine.py`, and the traps as JSON (`Traps` in battery.py). It puts itself under the orders,
tries, and prints {canary: whether it got out} as JSON.
"""

import contextlib
import ctypes
import json
import os
import socket
import sys
from importlib import import_module
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SYS_MOUNT = 165 if os.uname().machine == "x86_64" else 40
PTRACE_SEIZE = 0x4206
CLONE_NEWUSER = 0x10000000


def main(libraries: str, told: str, trapped: str) -> None:
    sys.path.append(str(Path(__file__).parent))
    confine = import_module("confine").confine
    libc = ctypes.CDLL(None, use_errno=True)
    confine(libraries, json.loads(told))
    print(json.dumps({name: got_out(attempt) for name, attempt in attempts(json.loads(trapped), libc).items()}))  # noqa: T201  # its result


def got_out(attempt: "Callable[[], object]") -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def attempts(traps: "dict[str, Any]", libc: ctypes.CDLL) -> "dict[str, Callable[[], object]]":
    """What must not succeed, but for the last: a sandbox without a room of its own is of no use."""
    runner = traps["runner"]
    return {
        "owner": lambda: Path(traps["owner"]).read_bytes(),
        "neighbour": lambda: Path(traps["neighbour"]).read_bytes(),
        "shared": lambda: Path(traps["shared"], "planted").write_text("planted"),
        "environ": lambda: Path(f"/proc/{runner}/environ").read_bytes(),
        "memory": lambda: Path(f"/proc/{runner}/mem").open("rb").close(),
        "root": lambda: os.setuid(0),
        "trace": lambda: called(libc.ptrace(PTRACE_SEIZE, runner, None, None)),
        "signal": lambda: os.kill(runner, 0),
        "mount": lambda: called(libc.syscall(SYS_MOUNT, b"none", b"/", b"tmpfs", 0, None)),
        "namespace": lambda: called(libc.unshare(CLONE_NEWUSER)),
        "socket": lambda: connected(socket.AF_UNIX, "\0" + traps["socket"]),
        "port": lambda: connected(socket.AF_INET, ("127.0.0.1", traps["port"])),
        "temporary": lambda: Path(traps["temporary"]).read_bytes(),
        "own": lambda: Path(traps["own"], "written").write_text("mine"),
    }


def called(result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")


def connected(family: int, address: "Any") -> None:
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as one:
        one.settimeout(2)
        one.connect(address)


if __name__ == "__main__":
    main(*sys.argv[1:])
