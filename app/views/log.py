"""Log lines as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.views.text import escape


def render(content: Iterable[str], label: str, words: str = "", empty: str = "Nothing yet.") -> str:
    """`empty`: what an empty log means."""
    text = escape("\n".join(content))
    if not text:
        return f'<p class="sr-quiet">{"No line has these words." if words.strip() else empty}</p>'
    return f'<pre class="sr-log" tabindex="0" aria-label="{escape(label)}">{text}</pre>'


def matching(content: Iterable[str], words: str) -> Sequence[str]:
    """The lines in which all `words` occur, in any case; every line where there are none."""
    wanted = words.casefold().split()
    return [line for line in content if all(word in line.casefold() for word in wanted)]
