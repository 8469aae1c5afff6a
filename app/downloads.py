"""What is saved as a file: conversations, each to its own user, and the logs of Spaces, to the owner alone.

/conversations/<id>.json and .md, /logs/<space>/run.log and build.log.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from app.desk import Desk
from app.playground.errors import NotFound
from app.playground.export import as_json, as_markdown
from app.playground.playground import Playground
from spaces_runner.errors import UnknownSpace

_KINDS = {"json": (as_json, "application/json"), "md": (as_markdown, "text/markdown; charset=utf-8")}
_LOGS = ("run", "build")


def conversations(playground: Playground) -> APIRouter:
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


def logs(desk: Desk) -> APIRouter:
    """Whole logs, read while they are sent."""
    router = APIRouter()

    @router.get("/logs/{space_id}/{which}.log")
    def log(request: Request, space_id: str, which: str) -> Response:
        if request.scope.get("state", {}).get("role") != "owner":
            return PlainTextResponse("Only the owner sees this.", status_code=403)
        try:
            pieces = desk.whole_log(space_id, which) if which in _LOGS else None
        except UnknownSpace:
            pieces = None
        if pieces is None:
            return PlainTextResponse("There is no such log.", status_code=404)
        headers = {"content-disposition": f'attachment; filename="{space_id}-{which}.log"', "cache-control": "no-store"}
        return StreamingResponse(pieces, media_type="text/plain; charset=utf-8", headers=headers)

    return router
