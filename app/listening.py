"""Where the server listens, to which names it answers and with which token. Known before Gradio is loaded."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from app.guests import GuestLimits
from app.hosts import Hosts
from app.platforms import Proxy
from app.playground.core import Place
from spaces_runner.settings import Settings

PORTS_TRIED = 100
EVERYWHERE = ("0.0.0.0", "::", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which core answers, and how much of it guests get. `place`: one that runs already; None: found, or started."""

    place: Place | None = None
    guests: GuestLimits = field(default_factory=GuestLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What the command line asked for. Where `port` is taken, the next free one is used."""

    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    token: str = field(repr=False)
    allow_hosts: tuple[str, ...] = ()
    examples: Path | None = None
    private: bool = False  # no guests
    proxy: Proxy | None = None  # of the platform, where a public link is wished for
    core: ModelOptions = field(default_factory=ModelOptions)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket at `port` or the next free one. Raises OSError when none of a hundred is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(2048)
        except OSError as error:
            listener.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            continue
        return listener
    raise OSError(f"no port from {port} to {port + PORTS_TRIED - 1} is free on {host}")


def known_hosts(options: ServerOptions) -> Hosts:
    """The names the command line allows, and the address that is listened on. Raises ValueError."""
    everywhere = options.host in EVERYWHERE
    hosts = Hosts(addresses=everywhere)
    for entry in (*options.allow_hosts, *(() if everywhere else (_bracketed(options.host),))):
        hosts.add(entry)
    if options.proxy:
        hosts.add(options.proxy.url)
    return hosts


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def stored_token(settings: Settings) -> str:
    """The page's token, made at first use and kept, so that a restart does not break links. The file is 0600."""
    path = settings.home_dir / "page" / "token"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if token := path.read_text().strip():
            return token
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    return token
