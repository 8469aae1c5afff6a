"""An error as people read it: where, what, why, and what to do next. Pure."""

from __future__ import annotations

from app.views.text import STEP_TITLES, badge, escape, lines
from app.views.words import of_page
from spaces_runner.types import ErrorInfo


def render(error: ErrorInfo) -> str:
    step = f' <span class="sr-quiet">at: {STEP_TITLES[error.step].lower()}</span>' if error.step else ""
    hint = f'<p class="sr-remedy">{escape(of_page(error.hint))}</p>' if error.hint else ""
    return (
        f'<section class="sr-problem" role="alert"><p>{badge(error.stage)}{step}</p>'
        f"<p><b>{escape(error.message)}</b></p>{hint}{lines(error.lines, 'Lines that matter')}</section>"
    )
