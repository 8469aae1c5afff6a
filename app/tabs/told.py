"""What a page shows already, so that what would come out the same is not sent to it again. Knows no components."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import gradio as gr


class Told:
    """What each part of a page was last made from, as digests. `now` is what to remember for the next time."""

    def __init__(self, before: dict[str, str]) -> None:
        self.before = before
        self.now: dict[str, str] = {}

    def changed(self, part: str, source: object, render: Callable[[], Any]) -> Any:
        """What `render` makes of `source`, or a skip where the part was last made from the same."""
        self.now[part] = hashlib.sha256(repr(source).encode("utf-8", "replace")).hexdigest()
        return gr.skip() if self.before.get(part) == self.now[part] else render()
