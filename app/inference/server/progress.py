"""What a stream says before its first word. Pure.

Neither protocol has a place for it: OpenAI's clients pass over a field they do not know, TGI's over a comment.
"""

from __future__ import annotations

import json
from typing import Any

from app.inference.types import Loading, Queued, Started


def progress(event: Loading | Queued | Started) -> dict[str, Any]:
    """As an object of JSON."""
    match event:
        case Loading():
            told = {"what": event.what, "fraction": event.fraction}
            return {"stage": "loading", **told, "position": event.position}
        case Queued():
            return {"stage": "queued", "position": event.position}
        case Started():
            return {
                "stage": "started",
                "prompt_tokens": event.prompt_tokens,
                "reused_tokens": event.reused_tokens,
                "seed": event.seed,
            }


def comment(event: Loading | Queued) -> bytes:
    """As a comment of Server-Sent Events."""
    return b": " + json.dumps(progress(event)).encode() + b"\n\n"
