"""Chatting for programs: the named endpoint /chat of a page's Gradio API. No components; nothing is kept.

client = Client(url)  # the owner adds headers={"Authorization": "Bearer <token>"}
answer = client.predict("guanaco-7b", "What is the capital of France?", api_name="/chat")
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr
from gradio.events import api as register

from app.inference.types import Delta, Message, Role
from app.playground.client import ChatRequest
from app.playground.errors import PlaygroundError
from app.playground.pace import interval
from app.playground.playground import Playground
from app.tabs.chat.visitor import name_of


def build(playground: Playground) -> None:
    """Register the endpoint in the Blocks that is being built."""

    async def chat(
        request: gr.Request, model: str, message: str, history: list[dict[str, str]] | None = None, system: str = ""
    ) -> AsyncGenerator[str, None]:
        """The answer of a model as it is written, each time the whole text so far. `history`: earlier messages, each
        with "role" (user or assistant) and "content"."""
        try:
            asked = ChatRequest(model=model, messages=_messages(message, history, system), client=name_of(request))
            playground.admit(asked.client)
            with playground.answers.apart(asked.client):
                async with aclosing(_growing(playground, asked)) as texts:
                    async for text in texts:
                        yield text
        except PlaygroundError as error:
            playground.core.lost(error)
            raise gr.Error(error.sentence, print_exception=False) from error

    register(chat, api_name="chat")


async def _growing(playground: Playground, asked: ChatRequest) -> AsyncGenerator[str, None]:
    """The text so far, on the clock of all answers, and in the end as it is then."""
    text, told, due = "", "", time.monotonic()
    async with aclosing((await playground.core.client()).chat(asked)) as events:
        async for event in events:
            text += event.text if isinstance(event, Delta) else ""
            if text != told and time.monotonic() >= due:
                yield text
                told, due = text, time.monotonic() + interval(playground.answers.count)
    if text != told:
        yield text


def _messages(message: str, history: Any, system: str) -> list[Message]:
    try:
        past = [Message(role=Role(turn["role"]), text=str(turn["content"])) for turn in history or ()]
    except (KeyError, TypeError, ValueError) as error:
        raise PlaygroundError(
            "The history cannot be read.", hint='Each of its messages is {"role": "user" or "assistant", "content": …}.'
        ) from error
    first = [Message(role=Role.SYSTEM, text=system)] if system else []
    return [*first, *past, Message(role=Role.USER, text=str(message))]
