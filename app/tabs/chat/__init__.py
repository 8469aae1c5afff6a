"""The chat tabs, one file each, and what they share. They talk to the core through the playground alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.playground.playground import Playground
from app.tabs.chat import alpaca, guanaco, llava, mpt
from app.tabs.chat.shelf import QUIET
from app.tabs.chat.visitor import is_owner
from app.views import chat as chat_view

LOOK_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chats:
    """The panels of a page, and the notices above them."""

    panels: Sequence[Any]
    tabs: Sequence[gr.Tab]
    notices: Sequence[gr.HTML]


def build(page: gr.Blocks, playground: Playground, *, at_once: bool) -> None:
    """Add the chat tabs where the tabs of `page` are being built. `at_once`: who comes to the page, comes to chat."""
    panels: list[Any] = []
    notices: list[gr.HTML] = []
    tabs: list[gr.Tab] = []
    for module in (guanaco, alpaca, mpt, llava):
        with gr.Tab(module.TITLE, id=module.__name__.rpartition(".")[2]) as tab:
            notices.append(gr.HTML(elem_classes="sr-part sr-notice", apply_default_css=False))
            built = module.build(playground)
            panels += [built.chat, built.instruct, built.story] if isinstance(built, mpt.MptPanels) else [built]
        tabs.append(tab)
    _connect(page, playground, Chats(panels=panels, tabs=tabs, notices=notices), at_once=at_once)


def _connect(page: gr.Blocks, playground: Playground, chats: Chats, *, at_once: bool) -> None:
    """Each panel fills itself when the page is loaded; the notices follow the core, which a look at a tab wakes."""
    seen = gr.State("")

    def look(before: str, request: gr.Request) -> tuple[Any, ...]:
        core = playground.core
        demo = any(model.demo for model in core.models)
        now = chat_view.notice(core.phase, core.problem, demo, is_owner(request))
        return (now, *[gr.skip() if now == before else now] * len(chats.notices))

    async def wake(before: str, request: gr.Request) -> tuple[Any, ...]:
        playground.core.wake()
        return look(before, request)

    told = [seen, *chats.notices]
    page.load(wake if at_once else look, seen, told, queue=False, **QUIET)
    for panel in chats.panels:
        page.load(panel.arrive, None, panel.arrivals, concurrency_limit=None, **QUIET)
    for tab in chats.tabs:
        tab.select(wake, seen, told, queue=False, **QUIET)
    gr.Timer(LOOK_S).tick(look, seen, told, queue=False, **QUIET)
