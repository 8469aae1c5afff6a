"""Ports of one run: which are free, and who gets which. Knows no Space and no store; the block's base is given."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

CLAIM_S = 20.0
SPACE_PORT = 7860  # the one port the Hub serves
_LISTEN = "0A"  # the kernel's name of the state, in /proc/net/tcp


def is_free(port: int) -> bool:
    """Whether any server could bind `port` on loopback now.

    As servers bind, with SO_REUSEADDR (an old Gradio does not; the bootstrap sets it there): a port that a server left
    a moment ago is free, although connections of it are remembered for a minute.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listener(port: int) -> int | None:
    """The user id of the process that listens on `port`; None where there is none, or no /proc to tell."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                return int(words[7])
    return None


@dataclass(slots=True, kw_only=True)
class PortBlock:
    """The `size` neighbouring ports from `base` on. A port handed out is claimed for a while, until it is bound.

    Two children that launch at once would find the same port free; a claim decides. The first port stands for the
    Hub's, which a server that is not Gradio gets without a claim; a Gradio app with another port in mind leaves it.
    """

    base: int
    size: int = 10
    _claimed: dict[int, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __contains__(self, port: object) -> bool:
        return type(port) is int and self.base <= port < self.base + self.size

    def take(self, asked: int | None = None) -> int | None:
        """A free port for an app whose author asked for `asked`; None when all are taken."""
        first, others = [self.base], list(range(self.base + 1, self.base + self.size))
        order = first + others if asked in (None, SPACE_PORT, self.base) else others + first
        with self._lock:
            now = time.monotonic()
            for port in order:
                if self._claimed.get(port, 0.0) <= now and is_free(port):
                    self._claimed[port] = now + CLAIM_S
                    return port
        return None
