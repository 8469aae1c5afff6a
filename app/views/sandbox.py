"""What keeps Spaces in on this machine, as one line of the page."""

from __future__ import annotations

from app.views.text import escape
from spaces_runner.sandbox.choice import made_of, reached
from spaces_runner.types import Sandbox


def render(found: Sandbox) -> str:
    if not found.holds:
        return _line("sr-bad", "No sandbox", "Nothing here keeps a Space in, so none is launched. See "
                     "<code>spaces-runner doctor</code>.")  # fmt: skip
    reach = f"; a Space can still reach: {escape(reached(found))}" if found.open else ""
    return _line("sr-good", "Sandbox", f"Each Space is kept in by {escape(made_of(found))}{reach}.")


def _line(kind: str, badge: str, text: str) -> str:
    return f'<p class="sr-quiet"><span class="sr-badge {kind}">{badge}</span> {text}</p>'
