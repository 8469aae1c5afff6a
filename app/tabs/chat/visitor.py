"""Who sends a page's event, as the gate said. Knows requests."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.playground.conversations import OWNER
from app.playground.errors import PlaygroundError


def user_of(request: gr.Request) -> str:
    """The name conversations are kept under. Raises PlaygroundError for a browser that keeps no cookie."""
    user = _state(request).get("user")
    if not user:
        raise PlaygroundError(
            "This browser keeps no cookie, so nothing can be kept for you here.",
            hint="Allow cookies for this page and load it again.",
        )
    return str(user)


def page_of(request: gr.Request) -> str:
    """One open page of a browser, until it is loaded again."""
    return request.session_hash or ""


def name_of(request: gr.Request) -> str:
    """As `user_of`; programs that keep no cookie are one guest together."""
    return str(_state(request).get("user") or "guests")


def is_owner(request: gr.Request) -> bool:
    return _state(request).get("user") == OWNER


def _state(request: gr.Request) -> dict[str, Any]:
    asked = request.request
    found: dict[str, Any] = asked.scope.get("state", {}) if asked else {}
    return found
