"""Events → the objects and chunks of the OpenAI protocol. Pure.

Beside what the protocol has, and where its clients tolerate it: `demo`, `seed`, `stop_reason` (the string that ended
it), `timings`, and in a stream `progress` (loading, queued, started), in chunks that add no text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

from app.inference.errors import InferenceError
from app.inference.server import failures
from app.inference.server.answers import Result
from app.inference.server.progress import progress
from app.inference.types import Delta, Event, Finished, FinishReason, Loading, Queued, Started, Usage

Json = dict[str, Any]
_REASONS: Mapping[FinishReason, str] = {
    FinishReason.EOS: "stop",
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
}
_DONE = b"data: [DONE]\n\n"


@dataclass(slots=True, kw_only=True)
class OpenAIStyle:
    """One request's answer. `chat`: messages, else plain text."""

    id: str
    model: str
    chat: bool
    demo: bool
    usage_wanted: bool = False
    ignored: tuple[str, ...] = ()
    created: int = field(default_factory=lambda: int(time.time()))
    opened: bool = False

    @property
    def headers(self) -> Mapping[str, str]:
        demo = {"X-Demo-Weights": "true"} if self.demo else {}
        ignored = {"X-Ignored-Fields": ", ".join(map(ascii, self.ignored[:20]))[:500]} if self.ignored else {}
        return {"X-Request-Id": self.id, **demo, **ignored}

    def piece(self, event: Event) -> bytes:
        match event:
            case Delta(text=""):
                return b""
            case Delta():
                return _sse(self._chunk(event.text))
            case Finished():
                return self._end(event)
            case Loading() | Queued() | Started():
                return _sse(self._chunk("", progress=progress(event)))

    def broken(self, error: InferenceError) -> bytes:
        return _sse(failures.openai_body(self._named(error)))

    def whole(self, result: Result) -> Response:
        choice = {**self._choice(result.finished), **self._content("message", result.text)}
        body = {
            **self._frame("chat.completion" if self.chat else "text_completion"),
            "choices": [choice],
            "usage": _usage(result.finished.usage),
            "seed": result.started.seed,
            "timings": _timings(result.finished.usage),
        }
        return JSONResponse(body, headers=dict(self.headers))

    def refusal(self, error: InferenceError) -> Response:
        return failures.openai_response(self._named(error))

    def _named(self, error: InferenceError) -> InferenceError:
        """A chat's prompt is its messages."""
        if self.chat and error.param == "prompt":
            error.param = "messages"
        return error

    def _end(self, event: Finished) -> bytes:
        last = self._frame(self._kind)
        last["choices"] = [{**self._choice(event), **({"delta": {}} if self.chat else {"text": ""})}]
        last["timings"] = _timings(event.usage)
        if not self.usage_wanted:
            return _sse(last) + _DONE
        last["usage"] = None
        usage = {**self._frame(self._kind), "choices": [], "usage": _usage(event.usage)}
        return _sse(last) + _sse(usage) + _DONE

    def _chunk(self, text: str, **more: object) -> Json:
        choice = {"index": 0, **self._content("delta", text), "logprobs": None, "finish_reason": None}
        usage = {"usage": None} if self.usage_wanted else {}
        return {**self._frame(self._kind), "choices": [choice], **usage, **more}

    def _content(self, name: str, text: str) -> Json:
        """The text where the protocol has it. Who speaks is said once."""
        if not self.chat:
            return {"text": text}
        role = {} if self.opened else {"role": "assistant"}
        self.opened = True
        return {name: {**role, "content": text}}

    def _choice(self, event: Finished) -> Json:
        return {"index": 0, "logprobs": None, "finish_reason": _REASONS[event.reason], "stop_reason": event.stop}

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _frame(self, kind: str) -> Json:
        demo = {"demo": True} if self.demo else {}
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, **demo}


def _usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.generated_tokens,
        "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.reused_tokens},
    }


def _timings(usage: Usage) -> Json:
    return {
        "queue_s": round(usage.queue_s, 4),
        "prefill_s": round(usage.prefill_s, 4),
        "decode_s": round(usage.decode_s, 4),
        "tokens_per_s": round(usage.tokens_per_s, 2),
    }


def _sse(value: Json) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"
