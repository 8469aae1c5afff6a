"""Looks at a Streamlit page as a browser does, so that its script runs: a websocket, one message, and then it listens.

Streamlit runs a script for whoever opens its page, never before. A client of its own, since it needs twenty lines of
the protocol (RFC 6455) and the shim has the standard library only.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
from threading import Event

LOOPBACK = "127.0.0.1"
PATHS = ("/_stcore/stream", "/stream")  # from 1.16 on, and before
ATTEMPTS, PAUSE_S = 40, 0.5  # for a server that answers already, but no websocket yet
PATIENCE_S = 5.0
LISTEN_S = 1.0  # between looks at whether the visit is over
RERUN = b"\x5a\x00"  # BackMsg { rerun_script (11): ClientState {} }, what a page sends when it is opened
FIN, BINARY, CLOSE, PING, PONG = 0x80, 0x2, 0x8, 0x9, 0xA
MASKED = 0x80
MAX_HEAD = 16 * 1024


def visit(port: int, over: Event) -> bool:
    """Look at the page on loopback's `port`, again where the server hangs up, until `over` is set.

    False where it lets nobody in.
    """
    refused = 0
    while refused < ATTEMPTS and not over.is_set():
        connection = _open(port, PATHS[0]) or _open(port, PATHS[1])
        if connection is None:
            refused += 1
        else:
            with connection:
                _stay(connection, over)
        over.wait(PAUSE_S)
    return over.is_set()


def _open(port: int, path: str) -> socket.socket | None:
    """A connection that speaks websocket; None where the server does not on this path."""
    try:
        connection = socket.create_connection((LOOPBACK, port), timeout=PATIENCE_S)
    except OSError:
        return None
    try:
        connection.sendall(_greeting(port, path))
        if _head(connection).startswith(b"HTTP/1.1 101 "):
            return connection
    except OSError:  # it hung up
        pass
    connection.close()
    return None


def _greeting(port: int, path: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {LOOPBACK}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _head(connection: socket.socket) -> bytes:
    """The answer's head, to its last byte: what follows are frames."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < MAX_HEAD:
        part = connection.recv(1)
        if not part:
            break
        head += part
    return head


def _stay(connection: socket.socket, over: Event) -> None:
    """Ask for the script to be run; take what comes, and answer pings: Streamlit drops who does not."""
    try:
        connection.sendall(_frame(BINARY, RERUN))
        while not over.is_set():
            code, payload = _next(connection, over)
            if code == PING:
                connection.sendall(_frame(PONG, payload))
            elif code == CLOSE:
                return
    except OSError:  # it hung up, or went
        return


def _frame(code: int, payload: bytes) -> bytes:
    """One frame of a client: always masked. Control frames, and what is sent here, are below 126 bytes."""
    mask = os.urandom(4)
    body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes((FIN | code, MASKED | len(payload))) + mask + body


def _next(connection: socket.socket, over: Event) -> tuple[int, bytes]:
    """The kind of the server's next frame, with its payload where that is short; CLOSE when the visit is over."""
    first, length = _exactly(connection, 2, over) or (CLOSE, 0)
    if length == 126:
        (length,) = struct.unpack("!H", _exactly(connection, 2, over) or bytes(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", _exactly(connection, 8, over) or bytes(8))
    if length < 126:
        return first & 0x0F, _exactly(connection, length, over)
    while length > 0 and not over.is_set():
        length -= len(_exactly(connection, min(length, 65536), over))
    return first & 0x0F, b""


def _exactly(connection: socket.socket, count: int, over: Event) -> bytes:
    """That many bytes; b"" when the visit is over. Raises OSError when the server hangs up."""
    connection.settimeout(LISTEN_S)
    data = b""
    while len(data) < count:
        try:
            part = connection.recv(count - len(data))
        except TimeoutError:
            if over.is_set():
                return b""
            continue
        if not part:
            raise ConnectionResetError
        data += part
    return data
