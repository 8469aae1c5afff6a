"""Static Spaces: a folder served by a small program of ours. No packages are installed (pure)."""

from __future__ import annotations

import json

from spaces_runner.sdks.kind import Kind, Start
from spaces_runner.variables import PORT_HERE

SERVER = "_spaces_runner_static"  # in every environment, beside the bootstrap


def argv(start: Start) -> tuple[str, ...]:
    """Isolated (-I), so that no file of the Space is taken for a module."""
    headers = [word for name, value in start.spec.headers.items() for word in ("--header", f"{name}: {value}")]
    variables = ("--variables", json.dumps(dict(start.variables))) if start.variables else ()
    return (start.python, "-I", "-m", SERVER, "--port", PORT_HERE, *headers, *variables, start.spec.app_file)


KIND = Kind(app_file="index.html", package=None, argv=argv)
