"""Which user holds the other end of a local connection, as the kernel knows it. Knows no more of connections.

The kernel is asked for the one socket by a netlink message (sock_diag(7)): 20 microseconds. The tables of /proc/net,
which it writes whole, take it 10 milliseconds where it has room for many sockets; they are read where it takes no such
message.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.store import USER_SLOTS

PROC = Path("/proc/net")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Owner = Callable[["End", "End"], int | None]
_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG; the rest is of linux/netlink.h and linux/inet_diag.h, too
_BY_FAMILY, _ERROR, _REQUEST, _ANY_STATE, _ANY_COOKIE = 20, 2, 1, 0xFFFFFFFF, b"\xff" * 8
_HEADER = struct.Struct("=IHHII")  # length, type, flags, number, port
_QUERY = struct.Struct("=BBBBI")  # family, protocol, extensions, -, states
_SOCKET = struct.Struct("!HH16s16sI8s")  # ports and addresses of both ends, interface, cookie
_FOUND = struct.Struct("=BBBB48sIIIII")  # family, state, timer, retries, the socket; expiry, queues, user, inode
_ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class End:
    """Of a connection. An IPv4 address inside of IPv6 is the IPv4 address."""

    address: Address
    port: int

    @classmethod
    def of(cls, pair: tuple[str, int]) -> End:
        return cls(_plain(ipaddress.ip_address(pair[0].partition("%")[0])), pair[1])


def space_test(uid_base: int, owner: Owner | None = None) -> Callable[[tuple[str, int], tuple[str, int]], bool]:
    """A test of whether the peer of a connection, told with our own end, is a process of a user that Spaces run as.

    `uid_base - 1` is the user who reads the metadata of source packages, so it counts as one of them. So does whoever
    called from this machine and has closed the connection by now: nobody can say any more who that was.
    """
    find = owner or _way_to_ask()

    def is_space(peer: tuple[str, int], ours: tuple[str, int]) -> bool:
        theirs, here = End.of(peer), End.of(ours)
        uid = find(theirs, here)
        if uid is None:
            return theirs.address.is_loopback or theirs.address == here.address
        return uid_base - 1 <= uid < uid_base + USER_SLOTS

    return is_space


def _way_to_ask() -> Owner:
    nobody = End(ipaddress.IPv4Address("127.0.0.1"), 1)
    try:
        asked(nobody, nobody)
    except OSError:
        return listed
    return asked


def asked(theirs: End, ours: End) -> int | None:
    """The user of the local socket at `theirs` that is connected to `ours`; None where a process has none such.

    Raises OSError where the kernel takes no such question.
    """
    if theirs.address.is_link_local:  # the same address may be on several interfaces
        return listed(theirs, ours)
    family = socket.AF_INET if theirs.address.version == 4 else socket.AF_INET6
    query = _QUERY.pack(family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE)
    query += _SOCKET.pack(theirs.port, ours.port, theirs.address.packed, ours.address.packed, 0, _ANY_COOKIE)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
        kernel.settimeout(_ANSWER_S)
        kernel.send(_HEADER.pack(_HEADER.size + len(query), _BY_FAMILY, _REQUEST, 0, 0) + query)
        answer = kernel.recv(4096)
    if _HEADER.unpack_from(answer)[1] == _ERROR:
        code = -struct.unpack_from("=i", answer, _HEADER.size)[0]
        if code == errno.ENOENT:
            return None
        raise OSError(code, os.strerror(code))
    *_, uid, inode = _FOUND.unpack_from(answer, _HEADER.size)
    return uid if inode else None


def listed(theirs: End, ours: End, proc: Path = PROC) -> int | None:
    """As `asked`, from the tables of all sockets."""
    for name in ("tcp", "tcp6"):
        for local, remote, uid, inode in _rows(proc / name):
            if local == theirs and remote == ours and inode:
                return uid
    return None


def _rows(path: Path) -> Iterator[tuple[End, End, int, int]]:
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:  # no such table: another system, or no IPv6
        return
    for line in lines:
        fields = line.split()
        yield _end(fields[1]), _end(fields[2]), int(fields[7]), int(fields[9])


def _end(text: str) -> End:
    """`0100007F:1EB4` is 127.0.0.1 port 7860: 32-bit words in the machine's (little-endian) order."""
    address, _, port = text.partition(":")
    words = bytes.fromhex(address)
    packed = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return End(_plain(ipaddress.ip_address(packed)), int(port, 16))


def _plain(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
