"""Which user holds the other end of a local connection, from /proc/net/tcp. Knows connections, not what they carry."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path

from spaces_runner.store import USER_SLOTS


def space_test(uid_base: int, port: int, proc: Path = Path("/proc/net")) -> Callable[[tuple[str, int]], bool]:
    """A test of whether a peer `(address, port)` of our `port` is a process of one of the users Spaces run as.

    `uid_base - 1` is the user who reads the metadata of source packages, so it counts as one of them.
    """

    def is_space(peer: tuple[str, int]) -> bool:
        return any(uid_base - 1 <= uid < uid_base + USER_SLOTS for uid in peer_uids(peer, port, proc))

    return is_space


def peer_uids(peer: tuple[str, int], port: int, proc: Path = Path("/proc/net")) -> Iterator[int]:
    """The users of local sockets at `peer` that are connected to `port`; none for a peer on another machine."""
    wanted = (_plain(ipaddress.ip_address(peer[0].partition("%")[0])), peer[1])
    for name in ("tcp", "tcp6"):
        for local, remote, uid in _rows(proc / name):
            if remote[1] == port and local[1] == wanted[1] and _plain(local[0]) == wanted[0]:
                yield uid


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _rows(path: Path) -> Iterator[tuple[tuple[Address, int], tuple[Address, int], int]]:
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:  # no such table: another system, or no IPv6
        return
    for line in lines:
        fields = line.split()
        yield _endpoint(fields[1]), _endpoint(fields[2]), int(fields[7])


def _endpoint(text: str) -> tuple[Address, int]:
    """`0100007F:1EB4` is 127.0.0.1 port 7860: 32-bit words in the machine's (little-endian) order."""
    address, _, port = text.partition(":")
    words = bytes.fromhex(address)
    packed = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return ipaddress.ip_address(packed), int(port, 16)


def _plain(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
