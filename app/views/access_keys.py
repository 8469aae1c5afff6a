"""The keys of programs as HTML: which there are, and how a new one is used. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from app.views.text import escape, lines, since
from spaces_runner.core.keys import Key


def listing(keys: Sequence[Key], now: float) -> str:
    """One row for each key. Its button carries `data-name` for the page's handler."""
    if not keys:
        return '<p class="sr-quiet">No program has a key yet.</p>'
    rows = "".join(_row(key, now) for key in keys)
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Program", "Made"))
    return (
        '<div class="sr-scroll"><table class="sr-table"><caption class="sr-hidden">Keys of programs</caption><thead>'
        f'<tr>{heads}<th scope="col"><span class="sr-hidden">What can be done</span></th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(key: Key, now: float) -> str:
    name = escape(key.name)
    made = f"{since(key.made, now)} ago" if key.made is not None else "-"
    button = f'<button class="sr-button" data-name="{name}" aria-label="Revoke the key of {name}">Revoke</button>'
    return f'<tr><th scope="row">{name}</th><td>{made}</td><td><div class="sr-actions">{button}</div></td></tr>'


def usage(address: str) -> str:
    """How a program is told of its key. `address` is the page's, without a path."""
    said = [f"export OPENAI_BASE_URL={address}/v1", "export OPENAI_API_KEY=…the key above…"]
    return (
        '<p class="sr-quiet">It is not shown again. Programs for OpenAI take it from these variables; it opens '
        f"{escape(address)}/tgi, too.</p>{lines(said, 'Lines to copy')}"
    )
