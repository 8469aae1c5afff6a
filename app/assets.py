"""The files that Gradio's pages are made of: compressed once, and told to browsers as what never changes.

Gradio compresses each of them anew for whoever opens a page, some eighty of them, and the page waits for the last one.
Their names hold a digest of what is in them. Knows no page, but where each has its files.
"""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import gradio as gr
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, Response

FOLDER = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
TYPES = {".js": "text/javascript", ".css": "text/css"}  # the rest is small, or compressed already
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}


def routes(*pages: str) -> APIRouter:
    """`pages`: the paths below which pages are mounted, "" for the root. Comes before the mounts."""
    router = APIRouter()
    files = {file.name: file for file in FOLDER.iterdir()}
    kept: dict[str, bytes] = {}

    async def asset(path: str, request: Request) -> Response:
        if (file := files.get(path)) is None:
            raise HTTPException(404)
        if file.suffix not in TYPES or "gzip" not in request.headers.get("accept-encoding", ""):
            return FileResponse(file, headers=FOREVER)
        if path not in kept:
            kept[path] = await asyncio.to_thread(_compressed, file)
        headers = {**FOREVER, "content-encoding": "gzip", "vary": "accept-encoding"}
        return Response(kept[path], media_type=TYPES[file.suffix], headers=headers)

    for page in pages:
        router.add_api_route(f"{page}/assets/{{path:path}}", asset, methods=["GET"])
    return router


def _compressed(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), compresslevel=6)
