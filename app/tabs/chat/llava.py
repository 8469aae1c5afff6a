"""LLaVA: a chat about pictures, which are uploaded, pasted or taken with the camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from app.inference.prompts.llava import SYSTEM
from app.playground import requests
from app.playground.playground import Playground
from app.tabs.chat import panel
from app.tabs.chat.panel import ChatPanel, Choice, Spec
from app.tabs.chat.shelf import QUIET

TITLE = "LLaVA"
PICTURES = Path(__file__).parent / "pictures"
SPEC = Spec(
    room="llava",
    model=Choice(name="llava-1.5-7b", ask=requests.chat, system=SYSTEM),
    placeholder="## LLaVA 1.5\nA chat about a picture. Drop one into the box below, paste one, or take one "
    "with the camera at the foot of this tab.",
    examples=[
        {"text": "What colour is the shape?", "files": [str(PICTURES / "red-circle.png")]},
        {"text": "What shape is in the picture?", "files": [str(PICTURES / "blue-triangle.png")]},
        {"text": "Describe the picture.", "files": [str(PICTURES / "green-ring.png")]},
    ],
    pictures=True,
)


def build(playground: Playground) -> ChatPanel:
    chat = panel.build(playground, SPEC)
    with gr.Accordion("Camera", open=False, elem_id="llava-camera"):
        camera = gr.Image(sources=["webcam"], type="filepath", label="Take a picture", height=300)
    camera.change(_add, [chat.box, camera], [chat.box, camera], **QUIET)
    return chat


def _add(value: dict[str, Any] | None, taken: str | None) -> tuple[Any, Any]:
    """The picture that was taken goes into the message."""
    if taken is None:
        return gr.skip(), gr.skip()
    written = value or {"text": "", "files": []}
    return {"text": written["text"], "files": [*written["files"], taken]}, None
