"""Log lines as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from app.views.text import escape


def render(content: Iterable[str], label: str) -> str:
    text = escape("\n".join(content))
    if not text:
        return '<p class="sr-quiet">Nothing yet.</p>'
    return f'<pre class="sr-log" tabindex="0" aria-label="{escape(label)}">{text}</pre>'
