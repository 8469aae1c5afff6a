"""Where the server listens: this machine alone, by address or by a socket file; and the server's run."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

STOPPING_S = 7.0  # for `on_stopping`, which ends what is under way
DRAIN_S = 2  # for the last bytes of answers after that; who stops a service waits ten seconds
_LISTEN_BACKLOG = 2048


class UnsafeAddress(ValueError):
    """An address that others than this machine reach. Tokens travel in plain text: it is not listened on."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on a loopback address; port 0 takes a free one. Raises UnsafeAddress, OSError."""
    found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    if not all(ipaddress.ip_address(address[4][0]).is_loopback for address in found):
        raise UnsafeAddress(
            f"The core listens on this machine alone, and {host or 'every address'} is not. "
            "Use 127.0.0.1, ::1 or a socket file; ssh -L, or a proxy with https, can carry it further."
        )
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_LISTEN_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def bind_file(path: Path) -> socket.socket:
    """A listening socket at `path`, for its owner alone. A socket that nobody listens on gives way. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o600)  # nobody connects before listen()
        listener.listen(_LISTEN_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


def url(listener: socket.socket) -> str:
    """How to reach it: http://127.0.0.1:7861, or the path of its file."""
    if listener.family is socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Calls `on_started` once it answers, and awaits `on_stopping` before it waits for answers under way.

    Told to stop by SIGTERM, SIGINT or `should_exit`.
    """

    def __init__(
        self,
        app: ASGIApp,
        on_started: Callable[[], None] | None = None,
        on_stopping: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=DRAIN_S,
        )
        super().__init__(config)
        self.on_started = on_started
        self.on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and self.on_started:
            self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.on_stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.on_stopping(), STOPPING_S)
        await super().shutdown(sockets=sockets)
