"""Gradio Spaces: what the Hub's builder installs besides their requirements, and how they are started (pure).

Source: build logs of the Hub, 2023 to 2026.
"""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

from spaces_runner.sdks.kind import Kind, Named, Start, pinned
from spaces_runner.types import SpaceSpec

_OAUTH_SINCE = Version("3.42")  # the extra's first version, nearly; unknown extras are ignored with a warning
_MCP_SINCE = Version("5.33")  # first seen in the builder's log
_WEBSOCKETS_SINCE = Version("5")


def argv(start: Start) -> tuple[str, ...]:
    """The command that starts the app: Gradio asks the bootstrap for its port."""
    return (start.python, start.spec.app_file, *start.args)


def requirement(version: str | None, bare: bool) -> str:
    """Gradio as the builder asks for it: `gradio[oauth,mcp]==6.31.0`. `bare` leaves the extras out."""
    extras = "" if bare else _extras(version)
    return pinned(f"gradio{extras}", version)


def additions(spec: SpaceSpec, requirements: Named, python: str) -> tuple[str, ...]:
    """Requirement lines that the Hub adds to a Space's own, for the interpreter version `python`."""
    lines = [
        requirement(spec.sdk_version, False),
        "uvicorn>=0.14.0",
        *(["websockets>=10.4"] if _at_least(spec.sdk_version, _WEBSOCKETS_SINCE) else []),
        "huggingface_hub",
        "requests",  # the Hub's image brings it through datasets, and Gradio 5 before 5.36 uses it undeclared
    ]
    # The Hub's image has datasets, and its GPU machines have torch, whatever the requirements say. Both are large.
    lines += [name for name in ("datasets", "torch") if name in spec.imports and name not in requirements.names]
    return tuple(lines)


def _extras(version: str | None) -> str:
    if _at_least(version, _MCP_SINCE):
        return "[oauth,mcp]"
    return "[oauth]" if _at_least(version, _OAUTH_SINCE) else ""


def _at_least(version: str | None, least: Version) -> bool:
    try:
        return version is None or Version(version) >= least
    except InvalidVersion:  # the resolver says so, with the line
        return False


KIND = Kind(
    app_file="app.py",
    package="gradio",
    argv=argv,
    patched=True,
    env={
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_ALLOW_FLAGGING": "never",
        "GRADIO_NUM_PORTS": "10",
        "TQDM_POSITION": "-1",
        "TQDM_MININTERVAL": "1",
    },
    requirement=requirement,
    additions=additions,
)
