"""Whose the other end of a connection is, asked of the kernel with real connections."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from app.peers import End, Owner, asked, listed, space_test

CONNECT = """
import os, socket, sys
uid = int(sys.argv[3])
if uid != os.getuid():
    os.setgid(uid); os.setuid(uid)
held = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
held.connect((sys.argv[1], int(sys.argv[2])))
print("connected", flush=True)
sys.stdin.read()
"""
Pair = tuple[str, int]


@pytest.fixture(params=["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A server; the last one listens to IPv4 by a socket of IPv6, as one for every address of the machine does."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with closing(socket.socket(family)) as server:
        try:
            server.bind((request.param, 0))
        except OSError:
            pytest.skip(f"this machine has no {request.param}")
        server.listen()
        server.settimeout(10)
        yield server


@contextmanager
def called(server: socket.socket, uid: int) -> Iterator[tuple[Pair, Pair]]:
    """A connection to `server` by a process of the user `uid`: the other end and ours, as the server sees them."""
    address, port = server.getsockname()[:2]
    process = subprocess.Popen(
        [sys.executable, "-c", CONNECT, address.removeprefix("::ffff:"), str(port), str(uid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    connection, peer = server.accept()
    try:
        yield (peer[0], peer[1]), connection.getsockname()[:2]
    finally:
        connection.close()
        process.communicate("", timeout=10)


@pytest.mark.parametrize("owner", [asked, listed])
def test_our_own_connection_is_ours(listener: socket.socket, owner: Owner) -> None:
    with called(listener, os.getuid()) as (peer, ours):
        assert owner(End.of(peer), End.of(ours)) == os.getuid()
        assert not space_test(os.getuid() + 1000, owner)(peer, ours)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("owner", [asked, listed])
@pytest.mark.parametrize(("offset", "found"), [(0, True), (3999, True), (-1, True), (-2, False), (4000, False)])
def test_a_space_is_known_by_its_user(listener: socket.socket, offset: int, found: bool, owner: Owner) -> None:
    with called(listener, 61000 + offset) as (peer, ours):
        assert space_test(61000, owner)(peer, ours) is found


@pytest.mark.parametrize("owner", [asked, listed])
@pytest.mark.parametrize("abruptly", [False, True])
def test_who_called_from_here_and_is_gone_counts_as_a_space(
    listener: socket.socket, owner: Owner, abruptly: bool
) -> None:
    """It would be nobody's, and with a stolen cookie the owner's."""
    address = listener.getsockname()
    caller = socket.create_connection((address[0].removeprefix("::ffff:"), address[1]))
    connection, peer = listener.accept()
    if abruptly:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()
    time.sleep(0.1)  # until the kernel has done with it
    with closing(connection):
        assert space_test(61000, owner)((peer[0], peer[1]), connection.getsockname()[:2])


@pytest.mark.parametrize("owner", [asked, listed])
def test_a_peer_on_another_machine_has_no_user_here(owner: Owner) -> None:
    peer, ours = ("203.0.113.7", 40000), ("192.0.2.1", 7860)
    assert owner(End.of(peer), End.of(ours)) is None
    assert not space_test(61000, owner)(peer, ours)
