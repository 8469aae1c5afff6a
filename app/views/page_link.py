"""The page's own public link and how it fares, as HTML. Pure."""

from __future__ import annotations

from app.share import LinkState
from app.views.text import escape, link, since


def render(state: LinkState, now: float) -> str:
    """Nothing where no link is wished for."""
    parts = []
    if state.url and state.since is not None:
        answered = f", seen to answer {since(state.answered, now)} ago" if state.answered is not None else ""
        parts.append(f'{link(state.url, "This page in public")}<p class="sr-quiet">Open for {since(state.since, now)}')
        parts.append(f"{answered}. Whoever has it may chat; to sign in it needs the token.</p>")
    if state.problem:
        parts.append(f'<p class="sr-quiet" role="status">{escape(state.problem)}</p>')
    return "".join(parts)
