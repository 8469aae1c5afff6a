"""Streamlit Spaces: `streamlit run` on the run's own port, behind a tunnel, ready when the script ran (pure)."""

from __future__ import annotations

from spaces_runner.sdks.kind import Kind, Named, Start, pinned
from spaces_runner.types import Ready, SpaceSpec
from spaces_runner.variables import PORT_HERE

PACKAGE = "streamlit"

# The page comes by loopback and by the public link, whose names the server cannot know: it would take the websocket and
# uploads through the link for another site's. What guards a visitor's browser is that a Space has no signed-in users.
_FLAGS = (
    *("--server.port", PORT_HERE),
    *("--server.address", "127.0.0.1"),
    *("--server.headless", "true"),
    *("--server.enableCORS", "false"),
    *("--server.enableXsrfProtection", "false"),
    *("--server.fileWatcherType", "none"),  # its files do not change, and watching large trees fails
    *("--browser.gatherUsageStats", "false"),
)


def argv(start: Start) -> tuple[str, ...]:
    """The command; flags on it win over the Space's own .streamlit/config.toml."""
    script = ("--", *start.args) if start.args else ()
    return (start.python, "-m", "streamlit", "run", start.spec.app_file, *_FLAGS, *script)


def requirement(version: str | None, bare: bool) -> str:
    """Streamlit as the builder asks for it; it has no extras to leave out."""
    return pinned(PACKAGE, version)


def additions(spec: SpaceSpec, requirements: Named, python: str) -> tuple[str, ...]:
    """Requirement lines that the Hub adds to a Space's own. Its GPU machines have torch, its image datasets."""
    brought = [name for name in ("datasets", "torch") if name in spec.imports and name not in requirements.names]
    return (pinned(PACKAGE, spec.sdk_version), "huggingface_hub", "requests", *brought)


KIND = Kind(
    app_file="app.py",
    package=PACKAGE,
    argv=argv,
    ready=Ready.SCRIPT,
    secrets_file=".streamlit/secrets.toml",  # st.secrets, where the Hub puts them
    requirement=requirement,
    additions=additions,
)
