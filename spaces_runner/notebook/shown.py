"""What a cell shows below itself: its links, the time that is left, the Space's page. It is rewritten in place.

Runs in the kernel, whose Python may be 3.8, with the standard library and IPython, which every kernel has.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

HEIGHT = 720  # pixels
# The Space's page may do what a page does, but not lead the notebook's own page elsewhere.
ALLOWED = "allow-scripts allow-same-origin allow-forms allow-popups allow-downloads allow-modals"
FEATURES = "clipboard-write; fullscreen; microphone; camera"
NAMES = (("public", "Public link"), ("native", "{platform}'s own link"), ("local", "On this machine"))


class Place:
    """One output of the cell, which what is shown next replaces."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, plain: str, markup: str) -> None:
        """`plain` is for a front end that shows no HTML, and for the file of the notebook."""
        from IPython.display import display

        data = {"text/plain": plain, "text/html": markup}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


def links(told: Mapping[str, Any]) -> tuple[str, str]:
    """As text and as HTML: where the Space answers, the link that leads furthest first."""
    named = [(name.format(platform=told["platform"]), told[key]) for key, name in NAMES if told[key]]
    width = max((len(name) for name, _ in named), default=0)
    plain = "\n".join(f"{name:<{width}}  {link}" for name, link in named)
    rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{anchor(link)}</td></tr>" for name, link in named)
    return plain, f"<table>{rows}</table>"


def inline(told: Mapping[str, Any]) -> tuple[str, str] | None:
    """The Space's page, where the browser can reach it; on a platform it cannot reach the machine itself."""
    link = told["public"] or told["native"] or ("" if told["platform"] else told["local"])
    if not link:
        return None
    source = html.escape(link, quote=True)
    frame = f'<iframe src="{source}" sandbox="{ALLOWED}" allow="{FEATURES}" width="100%" height="{HEIGHT}"></iframe>'
    return f"The Space, shown here: {link}", frame


def anchor(link: str) -> str:
    escaped = html.escape(link, quote=True)
    return f'<a href="{escaped}" target="_blank" rel="noopener noreferrer">{escaped}</a>'
