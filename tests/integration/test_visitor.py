"""The visitor of a Streamlit page, against a server on loopback that speaks websocket or does not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from spaces_runner.shim import visitor
from spaces_runner.shim.visitor import RERUN, visit

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
LONG = b"\x82\x7f" + (70_000).to_bytes(8, "big") + b"x" * 70_000
MIDDLING = b"\x82\x7e" + (300).to_bytes(2, "big") + b"x" * 300
PING = b"\x89\x03abc"

Serve = Callable[[socket.socket, bytes], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """A port whose connections are given to `serve`, with the head of their request."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # closed
                return
            with connection:
                connection.settimeout(10)
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(1)
                serve(connection, head)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def frame(connection: socket.socket) -> tuple[int, bytes]:
    """The kind and the payload of a client's short frame."""
    data = connection.recv(1024)
    assert data[1] & 0x80, "a client must mask what it sends"
    mask, body = data[2:6], data[6:]
    assert len(body) == data[1] & 0x7F
    return data[0] & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(body))


def test_it_asks_for_a_run_takes_what_comes_and_answers_pings() -> None:
    over = threading.Event()
    got: list[tuple[int, bytes]] = []

    def serve(connection: socket.socket, head: bytes) -> None:
        assert head.startswith(b"GET /_stcore/stream HTTP/1.1\r\n")
        connection.sendall(SWITCH)
        got.append(frame(connection))
        connection.sendall(MIDDLING + LONG + PING)
        got.append(frame(connection))
        over.set()

    with serving(serve) as port:
        assert visit(port, over)
    assert got == [(2, RERUN), (0xA, b"abc")]


def test_an_older_server_is_asked_by_its_own_path_and_again_when_it_hangs_up() -> None:
    over = threading.Event()
    paths: list[bytes] = []

    def serve(connection: socket.socket, head: bytes) -> None:
        paths.append(head.split()[1])
        if paths[-1] != b"/stream":
            connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")
            return
        connection.sendall(SWITCH)
        if paths.count(b"/stream") == 2:
            over.set()

    with serving(serve) as port:
        assert visit(port, over)
    assert paths == [b"/_stcore/stream", b"/stream"] * 2


def test_a_server_that_lets_nobody_in_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitor, "PAUSE_S", 0.001)
    with serving(lambda connection, _: connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as port:
        assert not visit(port, threading.Event())
