"""MPT-7B: Chat and Instruct answer, StoryWriter goes on with a story."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.inference.prompts.mpt_chat import SYSTEM
from app.playground import requests
from app.playground.playground import Playground
from app.tabs.chat import panel, story
from app.tabs.chat.panel import ChatPanel, Choice, Spec
from app.tabs.chat.story import StoryPanel

TITLE = "MPT-7B"
CHAT = Spec(
    room="mpt-chat",
    model=Choice(name="mpt-7b-chat", ask=requests.chat, system=SYSTEM),
    placeholder="## MPT-7B Chat\nA conversation, with a system prompt of your own if you like.",
    examples=[
        {"text": "What is the capital of Japan?"},
        {"text": "What is 3 plus 4?"},
        {"text": "Which animal says moo?"},
    ],
)
INSTRUCT = Spec(
    room="mpt-instruct",
    model=Choice(
        name="mpt-7b-instruct",
        ask=requests.instruction,
        note="Each instruction is answered on its own: this model does not look at earlier ones.",
    ),
    placeholder="## MPT-7B Instruct\nOne instruction at a time.",
    examples=[
        {"text": "Name the capital of Italy."},
        {"text": "Give the opposite of hot."},
        {"text": "List the days of the week."},
    ],
)
PARTS = (CHAT.room, INSTRUCT.room, story.ROOM)


@dataclass(frozen=True, slots=True, kw_only=True)
class MptPanels:
    parts: gr.Tabs
    chat: ChatPanel
    instruct: ChatPanel
    story: StoryPanel


def build(playground: Playground) -> MptPanels:
    """Three models as tabs of their own inside the tab."""
    with gr.Tabs() as parts:
        with gr.Tab("Chat", id=CHAT.room):
            chat = panel.build(playground, CHAT)
        with gr.Tab("Instruct", id=INSTRUCT.room):
            instruct = panel.build(playground, INSTRUCT)
        with gr.Tab("StoryWriter", id=story.ROOM):
            writer = story.build(playground)
    return MptPanels(parts=parts, chat=chat, instruct=instruct, story=writer)
