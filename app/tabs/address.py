"""The chosen tab stands in the page's address (the page's script writes it there), and is found there again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import gradio as gr

TAB, PART = "tab", "part"  # of the page, and inside one of its tabs


def keep(page: gr.Blocks, rooms: gr.Tabs, known: Collection[str], name: str = TAB) -> None:
    """Opens `rooms` at the tab that the address names, if its id is `known`."""

    def arrive(request: gr.Request) -> Any:
        asked = request.query_params.get(name)
        return gr.Tabs(selected=asked) if asked in known else gr.skip()

    page.load(arrive, None, rooms, api_visibility="private", show_progress="hidden", queue=False)
