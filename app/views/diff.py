"""A unified diff as coloured HTML. Pure."""

from __future__ import annotations

from app.views.text import escape


def render(diff: str) -> str:
    """The diff with each line marked as added, removed, place or file; a sentence where nothing changes."""
    if not diff.strip():
        return '<p class="sr-quiet">The source needs no change to be launched here.</p>'
    lines = "".join(f'<span class="{_kind(line)}">{escape(line)}</span>\n' for line in diff.splitlines())
    return f'<pre class="sr-diff" tabindex="0" aria-label="Patch">{lines}</pre>'


def _kind(line: str) -> str:
    if line.startswith(("+++", "---", "diff ")):
        return "sr-file"
    if line.startswith("@@"):
        return "sr-place"
    return {"+": "sr-added", "-": "sr-removed"}.get(line[:1], "sr-same")
