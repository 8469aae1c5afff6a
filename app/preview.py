"""A running Space inside the owner's page: /previews/<id> is a frame around it, for the owner alone.

A page of its own, because what may be framed is said in a header, and that of the whole page goes out before anybody
knows the Spaces that will be started: this one allows the one origin on which its Space is now. The Space has an origin
apart from the page's, so the page is closed to it; the sandbox keeps it from leading the page elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from app.desk import Desk
from app.hosts import LOOPBACK
from app.views import preview as view
from spaces_runner.errors import UnknownSpace
from spaces_runner.types import SpaceStatus

ANSWER_S = 5.0


def routes(desk: Desk) -> APIRouter:
    router = APIRouter()

    @router.get("/previews/{space_id}")
    async def preview(request: Request, space_id: str) -> Response:
        if request.scope.get("state", {}).get("role") != "owner":
            return PlainTextResponse("Only the owner sees this.", status_code=403)
        try:
            status = await asyncio.to_thread(desk.space, space_id)
        except UnknownSpace as error:
            return _page(view.sentence(error.message))
        url, why = link(status, request.url.hostname or "")
        if url is None:
            return _page(view.sentence(why))
        page = f"{request.url.scheme}://{request.url.netloc}"
        if why := await refusal(status.local_url or url, page):
            return _page(view.sentence(why, url))
        return _page(view.frame(url, status.space), _origin(url))

    return router


def link(status: SpaceStatus, host: str) -> tuple[str | None, str]:
    """The Space's link that a browser can follow which has the page from `host`; where there is none, why."""
    if status.local_url is None:
        return None, f"{status.space} is not running."
    if host in LOOPBACK:
        return status.local_url, ""
    why = f"{status.space} has no public link, and its local one is for a browser on its own machine."
    return status.share_url, "" if status.share_url else why


async def refusal(url: str, page: str) -> str:
    """Why the app at `url` cannot be shown inside `page` (an origin); "" where it can."""
    try:
        async with (
            httpx.AsyncClient(timeout=ANSWER_S, trust_env=False) as http,
            http.stream("GET", url, headers={"accept": "text/html"}) as answer,
        ):
            forbidden = forbids(answer.headers, page)
    except httpx.HTTPError:
        return "The app does not answer now."
    return "The app forbids other pages to show it inside." if forbidden else ""


def forbids(headers: Mapping[str, str], page: str) -> bool:
    """Whether an answer with these headers may not be framed by `page`. CSP counts before X-Frame-Options."""
    for policy in headers.get("content-security-policy", "").split(","):
        for directive in policy.split(";"):
            name, *sources = directive.lower().split() or [""]
            if name == "frame-ancestors":
                parts = urlsplit(page)
                return not {"*", f"{parts.scheme}:", page, parts.netloc} & set(sources)
    return headers.get("x-frame-options", "").strip().lower() in ("deny", "sameorigin")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _page(body: str, framed: str = "'none'") -> HTMLResponse:
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; frame-src {framed}; frame-ancestors 'self'; "
        "base-uri 'none'; form-action 'none'"
    )
    headers = {"content-security-policy": policy, "x-frame-options": "SAMEORIGIN", "cache-control": "no-store"}
    return HTMLResponse(body, headers=headers)
