"""One uvicorn server: the gate around one FastAPI application around two pages, the owner's and the guests'."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from app import assets, downloads, forward, models, preview, warm
from app.access import STUDIO, Gate
from app.desk import Desk
from app.hosts import Hosts
from app.inference.server.keys import KeyFile
from app.listening import ServerOptions
from app.page import CHAT_SCRIPT, CHAT_STYLE, STYLE, THEME, TICKER, build_guest_page, build_studio
from app.peers import space_test
from app.playground.conversations import OWNER
from app.playground.talk import MAX_PICTURE_BYTES
from app.programs import Programs
from app.share import PageLink
from spaces_runner.core import keys
from spaces_runner.settings import Settings

Who = Callable[[Request], str | None]


def build_app(settings: Settings, options: ServerOptions, link: PageLink | None = None) -> FastAPI:
    """The application behind the gate: the owner's page at /studio/, the guests' at /. `link`: the page's own."""
    playground = models.playground(settings, options.core)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await playground.close()

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    # Its presence turns off Gradio's own, which answers any Origin with credentials.
    app.add_middleware(CORSMiddleware, allow_origins=[])
    app.include_router(downloads.conversations(playground))
    desk = Desk(settings, link)
    app.include_router(downloads.logs(desk))
    app.include_router(preview.routes(desk))
    app.include_router(assets.routes("", STUDIO.rstrip("/")))

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    app.router.routes.extend(forward.routes(playground.core))

    # The owner's first: a mount at / takes whatever comes to it.
    studio = build_studio(desk, options.examples, playground)
    _mount(app, studio, STUDIO.rstrip("/"), settings, _owner_alone)
    _mount(app, build_guest_page(playground), "/", settings, None)
    return app


def _owner_alone(request: Request) -> str | None:
    """The owner's page looks once more at who asks, should the gate ever let a guest through to it."""
    return OWNER if request.scope.get("state", {}).get("role") == "owner" else None


def _mount(app: FastAPI, page: gr.Blocks, path: str, settings: Settings, who: Who | None) -> None:
    gr.mount_gradio_app(
        app,
        page,
        path=path,
        auth_dependency=who,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        app_kwargs={"openapi_url": None},
        blocked_paths=[settings.home],
        max_file_size=MAX_PICTURE_BYTES,
        show_error=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=THEME,
        css_paths=[STYLE, CHAT_STYLE],
        head_paths=[TICKER, CHAT_SCRIPT],
    )


def guard(app: ASGIApp, settings: Settings, options: ServerOptions, hosts: Hosts) -> Gate:
    """`app` behind the gate. Only where we are root do Spaces run as users of their own that can be told apart."""
    programs = Programs(KeyFile(keys.path(settings)))
    gate = Gate(app=app, token=options.token, hosts=hosts, private=options.private, programs=programs)
    if os.geteuid() == 0:
        gate.is_space = space_test(settings.uid_base)
    return gate


class Server(uvicorn.Server):
    """Calls `on_started` once it answers, and as fast as it will."""

    def __init__(self, gate: Gate, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self.gate = gate
        self.on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            await warm.up(self.gate, self.gate.token)
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
    Server(gate, config, on_started).run(sockets=[listener])
