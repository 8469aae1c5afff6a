"""A conversation as the messages of a gr.Chatbot. Knows its value, not its events."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from app.playground.export import kind
from app.playground.talk import Conversation, Turn
from app.views import chat as chat_view

Message = dict[str, Any]


def messages(conversation: Conversation | None, waiting: str = "") -> list[Message]:
    """One message for each turn, so that the chatbot's numbers are those of the turns."""
    return [_message(turn, waiting) for turn in conversation.turns] if conversation else []


def sent(chatbot: gr.Chatbot, turns: Iterable[Turn], waiting: str = "") -> list[Message]:
    """The same as Gradio sends them."""
    shown: list[Any] = [_message(turn, waiting) for turn in turns]
    value: list[Message] = chatbot.postprocess(shown).model_dump()
    return value


def _message(turn: Turn, waiting: str) -> Message:
    if turn.answer is None:
        shown: list[Any] = [{"path": picture_file(picture)} for picture in turn.pictures]
        return {"role": turn.role.value, "content": [*shown, turn.text] if shown else turn.text}
    parts = [turn.text, chat_view.failure(turn.answer), chat_view.footnote(turn.answer, waiting)]
    return {"role": "assistant", "content": [part for part in parts if part]}


def picture_file(picture: bytes) -> str:
    """Where Gradio can serve a picture from: its own cache, by the digest of what is in it, as it names uploads."""
    folder = Path(get_upload_folder()) / hashlib.sha256(picture).hexdigest()
    path = folder / f"picture.{kind(picture)}"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(picture)
    return str(path)
