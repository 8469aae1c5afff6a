"""The core's own protocols through the gate: /v1, /tgi and /metrics, passed on as they come. Knows HTTP, no protocol.

The core's token stays here: the core is told for whom it is asked, and of what either side sends, the other gets only
what is listed. A client that leaves ends its request in the core at once, so that its place there is free.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.inference.errors import (
    BodyTooLarge,
    Forbidden,
    InferenceError,
    Interrupted,
    MalformedBody,
    ModelUnavailable,
    Overloaded,
    RemoteFailed,
)
from app.inference.server import Bounds, failures
from app.inference.server.streams import ClientLeft, attended
from app.playground.client import CoreClient, Passed
from app.playground.core import Core
from app.playground.errors import PlaygroundError
from app.programs import METRICS

BODY_S = 120.0  # for a body to come in
AT_ONCE = 64  # requests of one client; the core takes 512 of all
_TAKEN = {"/v1/{path:path}": ["GET", "POST"], "/tgi/{path:path}": ["GET", "POST"], METRICS: ["GET"]}
_THERE = ("accept", "content-type")
_BACK = frozenset(
    {"content-type", "content-length", "cache-control", "retry-after", "x-accel-buffering"}
    | {"x-demo-weights", "x-ignored-fields", "x-request-id"}
)
_REFUSES_US = (401, 403)


def routes(core: Core) -> list[Route]:
    passing = Forward(core)
    return [Route(path, passing, methods=methods) for path, methods in _TAKEN.items()]


@dataclass(slots=True)
class Forward:
    """An ASGI application behind the gate, which says who asks. Belongs to the event loop of `core`."""

    core: Core
    limit: int = Bounds().body_bytes
    _under_way: Counter[str] = field(default_factory=Counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._place(_user(scope)):
                asked = await _read(scope, receive, self.limit)
                await attended(receive, self._answer(asked, send))
        except ClientLeft:
            return
        except InferenceError as error:
            await failures.response(scope["path"], error)(scope, receive, send)

    @contextmanager
    def _place(self, user: str) -> Iterator[None]:
        """Raises Overloaded where this user has as many requests under way as one may have."""
        if self._under_way[user] >= AT_ONCE:
            raise Overloaded(f"One key has at most {AT_ONCE} requests under way at once.", retry_after=1)
        self._under_way[user] += 1
        try:
            yield
        finally:
            self._under_way[user] -= 1
            if not self._under_way[user]:
                del self._under_way[user]

    async def _answer(self, asked: Passed, send: Send) -> None:
        """Raises InferenceError, and only before anything was sent."""
        response = await self._response(asked)
        try:
            if response.status_code in _REFUSES_US:
                raise RemoteFailed("The models' server does not take this page's token.")
            await send({"type": "http.response.start", "status": response.status_code, "headers": _headers(response)})
            whole = await _copy(response, send)
            if whole or _streams(response):
                ending = b"" if whole else _broken(asked.path)
                await send({"type": "http.response.body", "body": ending, "more_body": False})
        finally:
            await response.aclose()

    async def _response(self, asked: Passed) -> httpx.Response:
        """Raises InferenceError. A core that is found gone is looked for anew, or started, by the next request."""
        try:
            return await (await self._client(asked)).pass_on(asked)
        except PlaygroundError as error:
            self.core.lost(error)
            raise ModelUnavailable(error.message, hint=error.hint) from error

    async def _client(self, asked: Passed) -> CoreClient:
        """Whoever watches the models starts none by that; everybody else does. Raises PlaygroundError."""
        if asked.path != METRICS:
            return await self.core.client()
        if (found := await self.core.present()) is None:
            raise PlaygroundError("The models' server does not run.", hint="It is started when a model is needed.")
        return found


def _user(scope: Scope) -> str:
    """For whom the gate let this pass. Raises Forbidden: nobody comes here by another way."""
    state = scope.get("state", {})
    if state.get("role") not in ("owner", "program"):
        raise Forbidden("This needs a key.")
    return str(state["user"])


async def _read(scope: Scope, receive: Receive, limit: int) -> Passed:
    """The request, whole. Raises BodyTooLarge, MalformedBody, ClientLeft."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    announced = headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise BodyTooLarge(limit)
    try:
        async with asyncio.timeout(BODY_S):
            body = await _body(receive, limit)
    except TimeoutError as error:
        raise MalformedBody(f"The body did not come within {BODY_S:.0f} s.") from error
    return Passed(
        method=scope["method"],
        path=quote(scope["path"], safe="/:@"),
        client=_user(scope),
        headers={name: headers[name] for name in _THERE if name in headers},
        body=body,
    )


async def _body(receive: Receive, limit: int) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise BodyTooLarge(limit)
        more = message.get("more_body", False)
    return b"".join(parts)


async def _copy(response: httpx.Response, send: Send) -> bool:
    """Send on what comes, as it comes; False where it broke off before its end."""
    try:
        async for piece in response.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except httpx.HTTPError:
        return False
    return True


def _headers(response: httpx.Response) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in response.headers.raw if name.lower().decode("latin-1") in _BACK]


def _streams(response: httpx.Response) -> bool:
    return str(response.headers.get("content-type", "")).startswith("text/event-stream")


def _broken(path: str) -> bytes:
    """The last event of a stream whose core is gone; what came before it may be half an event."""
    error = Interrupted("The models' server broke off in the middle of the answer.")
    body = failures.tgi_body(error) if path.startswith("/tgi/") else failures.openai_body(error)
    return f"\n\ndata: {json.dumps(body)}\n\n".encode()
