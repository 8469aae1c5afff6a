"""One uvicorn server: the gate around one FastAPI application around the page. Knows no Space."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from app.access import Gate, Hosts
from app.page import STYLE, THEME, TICKER, build_page
from app.peers import space_test
from spaces_runner.settings import Settings

PORTS_TRIED = 100
EVERYWHERE = ("0.0.0.0", "::", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What the command line asked for. Where `port` is taken, the next free one is used."""

    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    token: str = field(repr=False)
    allow_hosts: tuple[str, ...] = ()
    examples: Path | None = None


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


def build_app(settings: Settings, options: ServerOptions) -> FastAPI:
    """The application behind the gate."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    # Its presence turns off Gradio's own, which answers any Origin with credentials.
    app.add_middleware(CORSMiddleware, allow_origins=[])

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    mounted = gr.mount_gradio_app(
        app,
        build_page(settings, options.examples),
        path="/",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        app_kwargs={"openapi_url": None},
        blocked_paths=[settings.home],
        show_error=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=THEME,
        css_paths=[STYLE],
        head_paths=[TICKER],
    )
    return cast(FastAPI, mounted)


def guard(app: ASGIApp, settings: Settings, options: ServerOptions, hosts: Hosts, port: int) -> Gate:
    """`app` behind the gate. Only where we are root do Spaces run as users of their own that can be told apart."""
    gate = Gate(app=app, token=options.token, hosts=hosts)
    if os.geteuid() == 0:
        gate.is_space = space_test(settings.uid_base, port)
    return gate


def known_hosts(options: ServerOptions) -> Hosts:
    """The names the command line allows, and the address that is listened on. Raises ValueError."""
    everywhere = options.host in EVERYWHERE
    hosts = Hosts(addresses=everywhere)
    for entry in (*options.allow_hosts, *(() if everywhere else (_bracketed(options.host),))):
        hosts.add(entry)
    return hosts


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class Server(uvicorn.Server):
    """Calls `on_started` once it answers."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.on_started()


def serve(gate: Gate, listener: socket.socket, on_started: Callable[[], None]) -> None:
    """Serve until interrupted. Requests are not logged: their addresses may hold the token."""
    config = uvicorn.Config(
        gate,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=2,  # open pages hold a stream each
    )
    Server(config, on_started).run(sockets=[listener])


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
