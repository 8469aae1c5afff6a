"""Connections passed on, byte for byte, in both directions."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from spaces_runner.notebook.forward import Forward, forwarding, listen

BODY = bytes(range(256)) * 4096


class Echo(socketserver.StreamRequestHandler):
    """Answers with all that came once the other side is through."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.read())


@pytest.fixture
def echo() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def opened(port: int | None) -> Iterator[tuple[Forward, int]]:
    listener = listen("127.0.0.1", 0)
    with forwarding(listener) as forward:
        forward.port = port
        yield forward, listener.getsockname()[1]


def ask(port: int, body: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        threading.Thread(target=_say, args=(connection, body)).start()
        with connection.makefile("rb") as file:
            return file.read()


def _say(connection: socket.socket, body: bytes) -> None:
    """In a thread: both directions are full before all is said."""
    connection.sendall(body)
    connection.shutdown(socket.SHUT_WR)


def test_a_megabyte_there_and_back(echo: int) -> None:
    with opened(echo) as (_, port):
        assert ask(port, BODY) == BODY


def test_while_it_leads_nowhere_it_hangs_up(echo: int) -> None:
    with opened(None) as (forward, port):
        assert hung_up(port)
        with socket.create_server(("127.0.0.1", 0)) as gone:
            forward.port = gone.getsockname()[1]
        assert hung_up(port)
        forward.port = echo
        assert ask(port, b"now") == b"now"


def test_its_end_hangs_up_on_everybody(echo: int) -> None:
    with opened(echo) as (_, port):
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        connection.sendall(b"half")
    with connection, suppress(ConnectionResetError):  # where it was not yet read from
        assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)


def hung_up(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        return connection.recv(1) == b""
