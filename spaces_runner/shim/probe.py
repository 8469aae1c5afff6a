"""Asks a local port whether an HTTP server is behind it, politely: it hears the answer out."""

from __future__ import annotations

import socket
import time

LOOPBACK = "127.0.0.1"
PATIENCE_S = 5.0
ENOUGH_BYTES = 1024**2  # of an answer that goes on and on


def answers(port: int) -> bool:
    """Whether a server on loopback's `port` answers a request, with any status."""
    request = f"GET / HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    heard = b""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=PATIENCE_S) as connection:
            connection.sendall(request.encode())
            heard = connection.recv(4096)
            _hear_out(connection)
    except OSError:  # nobody there, or slow after it had begun to answer
        return heard.startswith(b"HTTP/")
    return heard.startswith(b"HTTP/")


def _hear_out(connection: socket.socket) -> None:
    """A connection closed on data that was not read is a reset, and an exception in the Space's log."""
    deadline, heard = time.monotonic() + PATIENCE_S, 0
    while heard < ENOUGH_BYTES and time.monotonic() < deadline:
        part = connection.recv(65536)
        if not part:
            return
        heard += len(part)
