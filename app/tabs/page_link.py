"""The page's own public link, above the tabs: its address, its age, whether it answers."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr

from app.desk import Desk
from app.tabs.told import Told
from app.views import page_link

LOOK_S = 5.0


def build(page: gr.Blocks, desk: Desk) -> None:
    """Add it where `page` is being built."""
    part = gr.HTML(elem_id="page-link", elem_classes="sr-part", apply_default_css=False)
    shown = gr.State({})

    def look(before: dict[str, str]) -> tuple[Any, Any]:
        told, state = Told(before=before), desk.public_link()
        now = told.changed("link", state, lambda: page_link.render(state, time.time()))
        return now, told.now if told.now != before else gr.skip()

    quiet: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    page.load(lambda: look({}), None, [part, shown], **quiet)
    gr.Timer(LOOK_S).tick(look, shown, [part, shown], **quiet)
