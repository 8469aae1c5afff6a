"""A conversation as JSON and as Markdown. Pure."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from app.inference.types import Role
from app.playground.talk import Answer, Conversation, State, Turn

_SPEAKERS = {Role.USER: "You", Role.SYSTEM: "System"}
_ENDS = {
    State.STOPPED: "stopped",
    State.INTERRUPTED: "interrupted",
    State.FAILED: "failed",
    State.RUNNING: "not done yet",
}
_KINDS = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


def kind(picture: bytes) -> str:
    """png, jpeg, gif or webp, by its first bytes; "octet-stream" for anything else."""
    return next((name for start, name in _KINDS if picture.startswith(start)), "octet-stream")


def data_url(picture: bytes) -> str:
    return f"data:image/{kind(picture)};base64,{base64.b64encode(picture).decode()}"


def as_json(conversation: Conversation) -> str:
    """All that is kept of it; pictures as data URLs."""
    document = {
        "title": conversation.title,
        "model": conversation.model,
        "system": conversation.system,
        "created": _time(conversation.created),
        "updated": _time(conversation.updated),
        "messages": [_message(turn) for turn in conversation.turns],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role.value, "content": turn.text}
    if turn.pictures:
        message["images"] = [data_url(picture) for picture in turn.pictures]
    if turn.answer:
        message |= _about(turn.answer)
    return message


def _about(answer: Answer) -> dict[str, Any]:
    about: dict[str, Any] = {"model": answer.model, "state": answer.state.value, "demo": answer.demo}
    if answer.generated_tokens:
        about["tokens"] = {"prompt": answer.prompt_tokens, "generated": answer.generated_tokens}
        about["tokens_per_s"] = round(answer.tokens_per_s, 2)
    if answer.device:
        about["device"] = answer.device
    return about | ({"note": answer.note} if answer.note else {})


def as_markdown(conversation: Conversation) -> str:
    """The text as it was said, a heading for each message. Pictures are in the JSON only."""
    parts = [f"# {conversation.title or 'Conversation'}", f"{conversation.model}, {_time(conversation.updated)}"]
    if conversation.system:
        parts += ["## System", conversation.system]
    for turn in conversation.turns:
        parts += [f"## {_speaker(turn)}", *_pictures(turn), turn.text]
    return "\n\n".join(part for part in parts if part) + "\n"


def _speaker(turn: Turn) -> str:
    if turn.answer is None:
        return _SPEAKERS.get(turn.role, "Assistant")
    marks = [mark for mark in (_ENDS.get(turn.answer.state), "demo weights" if turn.answer.demo else None) if mark]
    return f"{turn.answer.model} ({', '.join(marks)})" if marks else turn.answer.model


def _pictures(turn: Turn) -> list[str]:
    count = len(turn.pictures)
    return [f"*{count} {'picture' if count == 1 else 'pictures'}*"] if count else []


def _time(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds")
