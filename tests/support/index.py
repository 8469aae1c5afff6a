"""A package index on loopback, of both kinds: one that says when a file was uploaded, and one that does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from packaging.utils import canonicalize_name

_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """`files` by name, and where it says so the moment of upload of each (ISO 8601, ending in Z)."""

    files: Mapping[str, bytes]
    uploaded: Mapping[str, str] = field(default_factory=dict)

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Content type and body of `/simple/NAME/` and `/files/NAME`."""
        kind, _, name = path.strip("/").partition("/")
        if kind == "files" and name in self.files:
            return "application/octet-stream", self.files[name]
        wanted = [file for file in self.files if canonicalize_name(file.split("-")[0]) == name]
        if kind != "simple" or not wanted:
            return None
        if not self.uploaded:
            links = "".join(f'<a href="/files/{file}">{file}</a>' for file in wanted)
            return "text/html", f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
        listed = [
            {"filename": file, "url": f"/files/{file}", "hashes": {}, "upload-time": self.uploaded[file]}
            for file in wanted
        ]
        return _JSON, json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": listed}).encode()


class _Handler(BaseHTTPRequestHandler):
    index: Index

    def do_GET(self) -> None:
        kind, body = self.index.answer(self.path) or ("text/plain", b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Quiet."""


@contextmanager
def serving(index: Index) -> Iterator[str]:
    """The root of `index`, as "http://127.0.0.1:PORT": its packages are below /simple, its files below /files."""
    handler = type("Handler", (_Handler,), {"index": index})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)
