"""Run any Hugging Face Space on this machine's GPU.

    import spaces_runner
    space = spaces_runner.run("owner/name")
    print(space.url, space.share_url)

The names below load on first use: the shim and the command line start in a fraction of what a full import costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spaces_runner.errors import RunnerError
    from spaces_runner.handle import Space, check, inspect, run, spaces

__version__ = "0.1.0"
__all__ = ["RunnerError", "Space", "__version__", "check", "inspect", "run", "spaces"]

_HOMES = {
    "RunnerError": "spaces_runner.errors",
    "Space": "spaces_runner.handle",
    "check": "spaces_runner.handle",
    "inspect": "spaces_runner.handle",
    "run": "spaces_runner.handle",
    "spaces": "spaces_runner.handle",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'spaces_runner' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
