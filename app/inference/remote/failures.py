"""What an engine elsewhere answers when it does not answer → errors of ours. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.inference.errors import BadRequest, InferenceError, Overloaded, RemoteFailed

MAX_CHARS = 500  # of what others say
RETRY_S = 1  # where a server does not say when to come back


def refused(where: str, status: int, headers: Mapping[str, str], body: bytes) -> InferenceError:
    """An answer that is no stream. `where` is how messages call the engine."""
    said = _message(body)
    if status == 429:
        wait = headers.get("retry-after", "")
        return Overloaded(said or f"{where} is full.", retry_after=int(wait) if wait.isdecimal() else RETRY_S)
    if status in (400, 413, 422):
        return BadRequest(said or f"{where} does not take this request.")
    if status in (401, 403):
        return RemoteFailed(f"{where} does not let us in.", hint="Look at the model's remote.token_file.")
    if status == 404:
        return RemoteFailed(
            f"{where} does not know what we ask for: {said or 'not found'}.",
            hint="Look at remote.url and remote.model.",
        )
    return RemoteFailed(f"{where} answered {status}{f': {said}' if said else ''}.")


def said_error(said: object) -> InferenceError:
    """An error in the middle of a stream, as either protocol has it."""
    body = said if isinstance(said, Mapping) else {"error": said}
    text = _text(body) or "it said no more"
    if "overloaded" in (body.get("error_type"), body.get("code")) or body.get("code") == 429:
        return Overloaded(text, retry_after=RETRY_S)
    return RemoteFailed(f"The engine elsewhere failed: {text}")


def _message(body: bytes) -> str:
    """The sentence in an error's body; "" where there is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return _text(said) if isinstance(said, Mapping) else ""


def _text(said: Mapping[str, Any]) -> str:
    """OpenAI has error.message, TGI error, FastAPI detail, vLLM message."""
    error = said.get("error")
    inner = error.get("message") if isinstance(error, Mapping) else error
    found = inner or said.get("message") or said.get("detail") or ""
    return str(found)[:MAX_CHARS].strip()
