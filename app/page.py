"""The pages, the owner's and the guests': a heading and tabs. Knows the tabs, nothing of what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from app import api, chat_api
from app.desk import Desk
from app.machine.machine import Machine
from app.playground.playground import Playground
from app.tabs import access_keys, address, chat, gpu, page_link, spaces

HERE = Path(__file__).parent
STYLE = HERE / "style.css"
CHAT_STYLE = HERE / "chat.css"
TICKER = HERE / "ticker.html"
CHAT_SCRIPT = HERE / "chat.html"
MOST_EVENTS = 1000  # handlers at work at once; each answer under way is one
# System fonts: the page loads nothing, from anywhere, that it does not need.
THEME = gr.themes.Default(
    primary_hue="blue",
    neutral_hue="zinc",
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
).set(  # the default's small print and its first button are too faint to read
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
)


def build_studio(desk: Desk, examples: Path | None, playground: Playground) -> gr.Blocks:
    """The owner's page. `examples` is a directory of Spaces to offer."""
    machine = Machine()
    with gr.Blocks(title="Spaces Runner", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(
            "# Spaces Runner\nPaste a Hugging Face Space and get it running on this machine, with a public link."
        )
        api.build(desk)  # first: the names are its, and handlers of the tabs get others
        chat_api.build(playground)
        page_link.build(page, desk)
        with gr.Tabs(elem_id="rooms") as rooms:
            with gr.Tab("Run a Space", id="spaces"):
                spaces.build(page, desk, examples, playground, machine)
            chats = chat.build(playground)
            with gr.Tab(gpu.TITLE, id=gpu.ID):
                gpu.build(page, rooms, desk, playground, machine)
            with gr.Tab(access_keys.TITLE, id=access_keys.ID):
                access_keys.build(page, rooms, desk)
        chats.connect(page, at_once=False)
        _keep_address(page, rooms, chats, ("spaces", gpu.ID, access_keys.ID))
    return _queued(page)


def build_guest_page(playground: Playground) -> gr.Blocks:
    """What somebody with the link alone sees: the models, and nothing of the runner."""
    with gr.Blocks(title="Chat", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# Chat\nThree families of language models. Your conversations are kept for this browser.")
        chat_api.build(playground)
        with gr.Tabs(elem_id="rooms") as rooms:
            chats = chat.build(playground)
        chats.connect(page, at_once=True)
        _keep_address(page, rooms, chats, ())
    return _queued(page)


def _keep_address(page: gr.Blocks, rooms: gr.Tabs, chats: chat.Chats, others: Sequence[str]) -> None:
    """A reload, and a link that was copied, open the tab that was open."""
    address.keep(page, rooms, (*chats.tabs, *others))
    address.keep(page, chats.parts, chat.PARTS, address.PART)


def _queued(page: gr.Blocks) -> gr.Blocks:
    """Each handler is short or waits, so none need wait for another."""
    page.queue(default_concurrency_limit=None)
    page._queue.max_thread_count = MOST_EVENTS  # what launch(max_threads=…) sets; a mounted page is not launched
    return page
