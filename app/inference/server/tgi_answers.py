"""Events → the objects and events of text-generation-inference. Pure.

Source: docs/openapi.json and router/src/server.rs of text-generation-inference 3.3. Unlike there, a stop string is no
part of the text nor of the tokens' texts, and a token that adds no text (half of a character) has no event of its own.

That a model is being loaded, or that others are before one, is said in comments: every event of this protocol is a
token, and its clients fail at any other. They pass over comments, which tell them to go on waiting.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

from app.inference.errors import InferenceError
from app.inference.server import failures
from app.inference.server.answers import Result
from app.inference.server.progress import comment
from app.inference.types import Delta, Event, Finished, FinishReason, Loading, Queued, Started, Token

Json = dict[str, Any]
_REASONS: Mapping[FinishReason, str] = {
    FinishReason.EOS: "eos_token",
    FinishReason.STOP: "stop_sequence",
    FinishReason.LENGTH: "length",
}


@dataclass(slots=True)
class Pairing:
    """Which token brought which part of the text that may be shown: the text may lag behind its tokens."""

    waiting: deque[tuple[int, Token]] = field(default_factory=deque)
    unsaid: str = ""
    count: int = 0

    def add(self, delta: Delta) -> Iterator[tuple[int, Token, str]]:
        """The tokens whose text may be shown now: number, from 1, token and text."""
        for token in delta.tokens:
            self.count += 1
            self.waiting.append((self.count, token))
        self.unsaid += delta.text
        while self.waiting and self.unsaid:
            number, token = self.waiting[0]
            if token.text and len(token.text) > len(self.unsaid) and token.text.startswith(self.unsaid):
                return  # a part of its text may yet begin a stop string
            self.waiting.popleft()
            if said := self._take(token.text):
                yield number, token, said

    def _take(self, text: str) -> str:
        """`text`, cut off what is unsaid; all that is unsaid where they do not go together."""
        if not text:
            return ""
        said = text if self.unsaid.startswith(text) else self.unsaid
        self.unsaid = self.unsaid[len(said) :]
        return said

    def last(self) -> tuple[Token | None, str]:
        """The last token that was not told, None if all were, and what is left of the text."""
        token = self.waiting[-1][1] if self.waiting else None
        return token, self.unsaid


@dataclass(slots=True, kw_only=True)
class TgiStyle:
    """One request's answer. `listed`: as a list of one, which is how TGI's `/` answers."""

    inputs: str
    device: str  # cpu, cuda:0
    demo: bool
    context: Callable[[], int]  # tokens; known for sure once the answer has begun
    max_tokens: int
    details: bool = False
    full_text: bool = False
    listed: bool = False
    text: list[str] = field(default_factory=list)
    pairing: Pairing = field(default_factory=Pairing)
    started: Started = field(default_factory=lambda: Started(prompt_tokens=0, reused_tokens=0, seed=0))
    held: tuple[int, Token, str] | None = None  # the token that may be the last one
    said: Token | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        demo = {"X-Demo-Weights": "true"} if self.demo else {}
        kind = self.device.partition(":")[0] or "unknown"
        return {"x-compute-type": kind, "x-compute-characters": str(len(self.inputs)), **demo}

    def piece(self, event: Event) -> bytes:
        match event:
            case Started():
                self.started = event
                self.max_tokens = min(self.max_tokens, self.context() - event.prompt_tokens)
                return b""
            case Delta():
                self.text.append(event.text)
                return b"".join(self._tell(*one) for one in self.pairing.add(event))
            case Finished():
                return self._end(event)
            case Loading() | Queued():
                return comment(event)

    def broken(self, error: InferenceError) -> bytes:
        return _sse(failures.tgi_body(error))

    def whole(self, result: Result) -> Response:
        body: Json = {"generated_text": self._full(result.text), **self._label}
        if self.details:
            body["details"] = {
                **_finish(result.finished, result.started),
                "prefill": [],
                "tokens": [_token(token, text) for token, text in _shown(result.tokens, result.text)],
            }
        headers = {**self.headers, **_times(result)}
        return JSONResponse([body] if self.listed else body, headers=headers)

    def refusal(self, error: InferenceError) -> Response:
        return failures.tgi_response(error)

    def _tell(self, number: int, token: Token, text: str) -> bytes:
        """The event of a token. The one that fills the answer waits for what ends it."""
        if number >= self.max_tokens:
            self.held = (number, token, text)
            return b""
        self.said = token
        return _sse({**_event(number, _token(token, text)), **self._label})

    def _end(self, event: Finished) -> bytes:
        """The last token's event carries the whole text."""
        waiting, left = self.pairing.last()
        if self.held is not None and waiting is None:
            _, token, text = self.held
            last = _token(token, text + left)
        else:
            token = waiting or self.said or Token(id=0, text="", logprob=0.0, special=True)
            last = {**_token(token, left), "special": not left}
        whole = {
            "generated_text": self._full("".join(self.text)),
            "details": {**_finish(event, self.started), "input_length": event.usage.prompt_tokens},
        }
        return _sse({**_event(event.usage.generated_tokens, last), **whole, **self._label})

    @property
    def _label(self) -> Json:
        """Clients pass over a field that they do not know."""
        return {"demo": True} if self.demo else {}

    def _full(self, text: str) -> str:
        return self.inputs + text if self.full_text else text


def _shown(tokens: Iterable[Token], text: str) -> Iterator[tuple[Token, str]]:
    """Each token with what of its text is shown: together, as in TGI, those that are not special are the whole text."""
    left = len(text)
    for token in tokens:
        part = token.text if token.special else token.text[:left]
        left -= 0 if token.special else len(part)
        yield token, part


def _event(number: int, token: Json) -> Json:
    return {"index": number, "token": token, "generated_text": None, "details": None}


def _token(token: Token, text: str) -> Json:
    logprob = token.logprob if math.isfinite(token.logprob) else None
    return {"id": token.id, "text": text, "logprob": logprob, "special": token.special}


def _finish(event: Finished, started: Started) -> Json:
    return {
        "finish_reason": _REASONS[event.reason],
        "generated_tokens": event.usage.generated_tokens,
        "seed": started.seed,
    }


def _times(result: Result) -> dict[str, str]:
    """Seconds in x-compute-time, milliseconds in all others, as there."""
    usage = result.finished.usage
    work = usage.prefill_s + usage.decode_s
    milliseconds = {
        "x-total-time": result.seconds,
        "x-validation-time": max(0.0, result.seconds - usage.queue_s - work),
        "x-queue-time": usage.queue_s,
        "x-inference-time": work,
        "x-time-per-token": work / max(usage.generated_tokens, 1),
    }
    return {
        "x-compute-time": f"{result.seconds:.3f}",
        **{name: str(round(seconds * 1000)) for name, seconds in milliseconds.items()},
        "x-prompt-tokens": str(usage.prompt_tokens),
        "x-generated-tokens": str(usage.generated_tokens),
    }


def _sse(value: Json) -> bytes:
    return b"data:" + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"
