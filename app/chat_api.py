"""Chatting for programs: the named endpoint /chat of a page's Gradio API. No components; nothing is kept.

client = Client(url)  # the owner adds headers={"Authorization": "Bearer <token>"}
answer = client.predict("guanaco-7b", "What is the capital of France?", api_name="/chat")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import api as register

from app.inference.types import Delta, Message, Role
from app.playground.client import ChatRequest
from app.playground.errors import PlaygroundError
from app.playground.pace import SLOWEST_S, interval
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
    """The text so far whenever there is more, on the clock of all answers, and in the end as it is then.

    At least once in SLOWEST_S, though nothing is new: Gradio notices at a yield alone that a client has left.
    """
    written = Written()
    reading = asyncio.create_task(written.read(playground, asked))
    told, quiet = "", 0.0
    try:
        while not reading.done():
            if written.text != told or quiet >= SLOWEST_S:
                told, quiet = written.text, 0.0
                yield told
            pause = interval(playground.answers.count)
            await asyncio.wait({reading}, timeout=pause)
            quiet += pause
        await reading
        yield written.text
    finally:
        reading.cancel()
        await asyncio.wait({reading})


@dataclass(slots=True)
class Written:
    """What has come of an answer."""

    text: str = ""

    async def read(self, playground: Playground, asked: ChatRequest) -> None:
        """To its end; cancelled, the core is told at once. Raises PlaygroundError."""
        async with aclosing((await playground.core.client()).chat(asked)) as events:
            async for event in events:
                self.text += event.text if isinstance(event, Delta) else ""


def _messages(message: str, history: Any, system: str) -> list[Message]:
    try:
        past = [Message(role=Role(turn["role"]), text=str(turn["content"])) for turn in history or ()]
    except (KeyError, TypeError, ValueError) as error:
        raise PlaygroundError(
            "The history cannot be read.", hint='Each of its messages is {"role": "user" or "assistant", "content": …}.'
        ) from error
    first = [Message(role=Role.SYSTEM, text=system)] if system else []
    return [*first, *past, Message(role=Role.USER, text=str(message))]
