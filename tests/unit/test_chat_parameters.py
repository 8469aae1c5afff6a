"""The sliders of a chat's parameters."""

from __future__ import annotations

import asyncio

import gradio as gr

from app.tabs.chat.parameters import Slider


def test_a_slider_takes_what_stood_in_wider_bounds() -> None:
    """A page that was just opened says where a slider stands before it has heard that less is possible."""

    async def made() -> Slider:
        with gr.Blocks():
            return Slider(1, 256, 64)

    slider = asyncio.run(made())
    assert slider.preprocess(1024) == 1024
    assert slider.get_block_name() == "slider"
