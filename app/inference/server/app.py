"""The application: every route over one Service, errors in the manner of the protocol that was spoken."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Depends, FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.inference.errors import BadRequest, InferenceError, Overloaded
from app.inference.server import failures, model_routes, openai_routes, tgi_routes
from app.inference.server.core import BEARER, Bounds, Core
from app.inference.server.keys import Keys
from app.inference.server.metrics import Metrics
from app.inference.server.model_routes import TokenizeRequest
from app.inference.server.openai_bodies import ChatRequest, CompletionRequest
from app.inference.server.openapi import describe
from app.inference.server.streams import ClientLeft
from app.inference.server.tgi_bodies import CompatRequest, TgiRequest
from app.inference.service import Service

_WATCHING = frozenset({"/health", "/metrics"})
_TGI_HEALTH = re.compile(r"/tgi/[^/]+/health")
_ABOUT = "Models of this machine, over the protocols of OpenAI and of text-generation-inference."


def create_app(service: Service, keys: Keys, bounds: Bounds | None = None) -> ASGIApp:
    """The whole server over `service`, for callers that `keys` knows."""
    core = Core(service=service, keys=keys, bounds=bounds or Bounds(), metrics=Metrics(service))
    app = FastAPI(title="Inference core", description=_ABOUT, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in (
        openai_routes.routes(core),
        model_routes.routes(core),
        model_routes.management(core),
        tgi_routes.routes(core),
        tgi_routes.health(core),
    ):
        app.include_router(router)
    _watching(app, core)
    _failing(app)
    describe(app, (ChatRequest, CompletionRequest, TgiRequest, CompatRequest, TokenizeRequest))
    return Crowd(app, core.bounds.requests)


def _watching(app: FastAPI, core: Core) -> None:
    @app.get("/health", tags=["watching"])
    async def health() -> dict[str, str]:
        """Open to everyone: whether the server answers."""
        return {"status": "ok"}

    @app.get("/metrics", tags=["watching"], dependencies=[Depends(BEARER)])
    async def metrics(request: Request) -> Response:
        """For Prometheus."""
        core.caller(request)
        return Response(generate_latest(core.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _failing(app: FastAPI) -> None:
    """What a caller is told of errors that came before an answer began."""

    async def ours(request: Request, error: Exception) -> Response:
        known = error if isinstance(error, InferenceError) else failures.unforeseen()
        return failures.response(request.url.path, known)

    async def of_http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        path = request.url.path
        said = f"There is no {path[:200]} here." if status == 404 else f"{path[:200]} does not take {request.method}."
        answer = failures.response(path, BadRequest(said))
        answer.status_code = status
        return answer

    async def left(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nginx's word for it; nobody reads it

    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        InferenceError: ours,
        Exception: ours,
        HTTPException: of_http,
        ClientLeft: left,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


@dataclass(slots=True)
class Crowd:
    """Refuses what comes beyond so many requests at once, before a body is read. Who watches is always answered."""

    app: ASGIApp
    most: int
    here: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _WATCHING or _TGI_HEALTH.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        if self.here >= self.most:
            full = Overloaded(f"The server answers {self.most} requests at once, and no more.", retry_after=1)
            await failures.response(scope["path"], full)(scope, receive, send)
            return
        self.here += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.here -= 1
