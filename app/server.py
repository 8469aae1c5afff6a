"""One uvicorn server: the gate around one FastAPI application around the page. Knows no Space."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import cast

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from app.access import Gate, Hosts
from app.listening import ServerOptions
from app.page import STYLE, THEME, TICKER, build_page
from app.peers import space_test
from spaces_runner.settings import Settings


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
