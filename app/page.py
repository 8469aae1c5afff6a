"""The page: a heading and its tabs. Knows the tabs, nothing of what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import gradio as gr

from app import api
from app.desk import Desk
from app.tabs import spaces
from spaces_runner.settings import Settings

HERE = Path(__file__).parent
STYLE = HERE / "style.css"
TICKER = HERE / "ticker.html"
# System fonts: the page loads nothing, from anywhere, that it does not need.
THEME = gr.themes.Default(
    primary_hue="blue",
    neutral_hue="zinc",
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
).set(  # the default's small print is too faint to read
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
)


def build_page(settings: Settings, examples: Path | None) -> gr.Blocks:
    """The owner's page. `examples` is a directory of Spaces to offer."""
    desk = Desk(settings)
    with gr.Blocks(title="Spaces Runner", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(
            "# Spaces Runner\nPaste a Hugging Face Space and get it running on this machine, with a public link."
        )
        api.build(desk)  # first: the names are its, and handlers of the tabs get others
        spaces.build(page, desk, examples)
    # Each handler is short or waits in a thread, so none need wait for another.
    page.queue(default_concurrency_limit=None)
    return cast(gr.Blocks, page)
