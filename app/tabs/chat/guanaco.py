"""Guanaco: a chat in many languages."""

from __future__ import annotations

from app.inference.prompts.guanaco import HEADER
from app.playground import requests
from app.playground.playground import Playground
from app.tabs.chat import panel
from app.tabs.chat.panel import ChatPanel, Choice, Spec

TITLE = "Guanaco"
SPEC = Spec(
    room="guanaco",
    model=Choice(
        name="guanaco-7b",
        ask=requests.chat,
        system=HEADER,
    ),
    placeholder="## Guanaco\nA chat model that speaks many languages. Write below, or begin with one of these.",
    examples=[
        {"text": "What is the capital of France?"},
        {"text": "Wie heißt die Hauptstadt von Italien?"},
        {"text": "¿De qué color es el cielo?"},
    ],
)


def build(playground: Playground) -> ChatPanel:
    return panel.build(playground, SPEC)
