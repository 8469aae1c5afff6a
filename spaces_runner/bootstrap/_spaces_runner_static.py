"""Serves the files of a static Space, as the Hub does: a program of its own, run by a Python without packages.

    python -I -m _spaces_runner_static --port 41000 [--header "name: value"]... [--variables JSON] dist/index.html

The app file's folder is all that there is. Hidden files, listings and links that lead out of the folder are not.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

LOOPBACK = "127.0.0.1"
IDLE_S = 60.0  # of a connection that is kept open
# Beside what Python knows; those of the system differ from machine to machine.
TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".map": "application/json",
    ".webmanifest": "application/manifest+json",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
}
UTF8 = ("text/", "application/json", "image/svg+xml")
PAGES = (".html", ".htm")
# Behind the first of these that a page has; in front of its doctype it would have the page drawn by other rules.
BEGINNINGS = tuple(re.compile(rb"<%s[^>]*>" % tag, re.IGNORECASE) for tag in (rb"head\b", rb"html\b", rb"!doctype"))


class Site:
    """What is served: `page` at "/", everything else by its path below the page's folder."""

    def __init__(self, page: Path, headers: list[tuple[str, str]], variables: dict[str, str]) -> None:
        self.folder = page.resolve().parent
        self.page = page.name
        self.headers = headers
        # "</script>" in a value would end the script.
        told = json.dumps({"variables": variables}).replace("<", "\\u003c")
        self.script = f"<script>window.huggingface = {told};</script>".encode() if variables else b""

    def file(self, address: str) -> Path | None:
        """The file that a request's address means; None where there is none that may be seen."""
        parts = [part for part in unquote(urlsplit(address).path).split("/") if part]
        if any(part.startswith(".") or "\0" in part for part in parts):
            return None
        path = self.folder.joinpath(*parts)
        try:
            if path.is_dir():
                path /= self.page if path == self.folder else "index.html"
            real = path.resolve()
            return path if real.is_relative_to(self.folder) and real.is_file() else None
        except (OSError, RuntimeError, ValueError):  # a circle of links; a name that no file can have
            return None

    def text(self, path: Path) -> bytes:
        """A page as it is sent: with the variables, before any script of its own."""
        page = path.read_bytes()
        found = next(filter(None, (tag.search(page) for tag in BEGINNINGS)), None)
        cut = found.end() if found else 0
        return page[:cut] + self.script + page[cut:]


class Handler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD from the server's site."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}
    server_version = "Spaces-Runner"
    sys_version = ""
    server: Server

    def send_head(self) -> BinaryIO | None:
        path = self.server.site.file(self.path)
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        if self._lacks_slash(path):
            self._redirect()
            return None
        return self._page(path) if path.suffix.lower() in PAGES and self.server.site.script else self._plain(path)

    def _lacks_slash(self, path: Path) -> bool:
        """Whether it is the page of a folder that was asked for as if it were a file: its links would lead astray."""
        asked = unquote(urlsplit(self.path).path) or "/"
        return not asked.endswith("/") and asked.rpartition("/")[2] != path.name

    def _redirect(self) -> None:
        asked = urlsplit(self.path)
        self.send_response(HTTPStatus.MOVED_PERMANENTLY)
        self.send_header("Location", f"/{asked.path.strip('/')}/" + (f"?{asked.query}" if asked.query else ""))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _page(self, path: Path) -> BinaryIO:
        text = self.server.site.text(path)
        self._begin(path, len(text))
        return io.BytesIO(text)

    def _plain(self, path: Path) -> BinaryIO:
        file = path.open("rb")
        self._begin(path, path.stat().st_size)
        return file

    def _begin(self, path: Path, size: int) -> None:
        kind = self.guess_type(str(path))
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith(UTF8) else kind)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def end_headers(self) -> None:
        """Every answer has the Space's headers; none is kept without asking, since the next launch may change it."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in self.server.site.headers:
            self.send_header(name, value)
        super().end_headers()


class Server(ThreadingHTTPServer):
    """On loopback alone."""

    daemon_threads = True

    def __init__(self, port: int, site: Site) -> None:
        self.site = site
        super().__init__((LOOPBACK, port), Handler)


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--variables", type=json.loads, default={})
    parser.add_argument("page", type=Path)
    told = parser.parse_args()
    headers = [(name.strip(), value.strip()) for name, _, value in (one.partition(":") for one in told.header)]
    with Server(told.port, Site(told.page, headers, told.variables)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
