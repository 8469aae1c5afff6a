"""`python -m tests.support.routes`: every route of the web application, as JSON lines of path and methods.

A process of its own, because Gradio leaves loops and sockets open where a page is built and never served.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from app.listening import ServerOptions
from app.server import build_app
from spaces_runner.settings import read_settings


def routes(entries: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Through mounts and included routers. A kind of route nobody knows has no `methods` and is an error."""
    for entry in entries:
        if hasattr(entry, "original_router"):
            yield from routes(entry.original_router.routes, prefix + entry.include_context.prefix)
        elif getattr(entry, "routes", None):
            yield from routes(entry.routes, prefix + entry.path)
        else:
            yield prefix + entry.path, sorted(entry.methods)


def main() -> None:
    app = build_app(read_settings(os.environ), ServerOptions(token="not-served"))
    for path, methods in routes(app.routes):
        sys.stdout.write(json.dumps([path, methods]) + "\n")


if __name__ == "__main__":
    main()
