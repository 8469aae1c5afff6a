"""Conversations as files: /conversations/<id>.json and .md, each to its own user."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from app.playground.errors import NotFound
from app.playground.export import as_json, as_markdown
from app.playground.playground import Playground

_KINDS = {"json": (as_json, "application/json"), "md": (as_markdown, "text/markdown; charset=utf-8")}


def routes(playground: Playground) -> APIRouter:
    router = APIRouter()

    @router.get("/conversations/{name}")
    def conversation(request: Request, name: str) -> Response:
        user = request.scope.get("state", {}).get("user") or ""
        chosen, _, kind = name.rpartition(".")
        try:
            found = playground.see(user, chosen) if kind in _KINDS else None
        except NotFound:
            found = None
        if found is None:
            return PlainTextResponse("There is no such conversation.", status_code=404)
        write, media_type = _KINDS[kind]
        headers = {"content-disposition": f'attachment; filename="conversation.{kind}"', "cache-control": "no-store"}
        return Response(write(found), media_type=media_type, headers=headers)

    return router
