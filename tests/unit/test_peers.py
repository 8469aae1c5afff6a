"""Whose the other end of a connection is, asked of the kernel with real connections."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from app.peers import peer_uids, space_test

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


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with closing(socket.socket(family)) as server:
        try:
            server.bind((request.param, 0))
        except OSError:
            pytest.skip(f"this machine has no {request.param}")
        server.listen()
        server.settimeout(10)
        yield server


def peer_of(server: socket.socket, uid: int) -> tuple[tuple[str, int], subprocess.Popen[str]]:
    """A connection to `server` by a process of the user `uid`, as the server sees it."""
    address, port = server.getsockname()[:2]
    process = subprocess.Popen(
        [sys.executable, "-c", CONNECT, address, str(port), str(uid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    connection, peer = server.accept()
    connection.close()
    return (peer[0], peer[1]), process


def test_our_own_connection_is_ours(listener: socket.socket) -> None:
    peer, process = peer_of(listener, os.getuid())
    try:
        assert os.getuid() in set(peer_uids(peer, listener.getsockname()[1]))
        assert not space_test(os.getuid() + 1000, listener.getsockname()[1])(peer)
    finally:
        process.communicate("", timeout=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize(("offset", "found"), [(0, True), (3999, True), (-1, True), (-2, False), (4000, False)])
def test_a_space_is_known_by_its_user(listener: socket.socket, offset: int, found: bool) -> None:
    peer, process = peer_of(listener, 61000 + offset)
    try:
        assert space_test(61000, listener.getsockname()[1])(peer) is found
    finally:
        process.communicate("", timeout=10)


def test_a_peer_on_another_machine_has_no_user_here() -> None:
    assert list(peer_uids(("203.0.113.7", 40000), 7860)) == []
