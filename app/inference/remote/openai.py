"""A request in the words of the OpenAI protocol, as vLLM, SGLang and our own core speak it.

The prompt is sent as it was rendered, to /v1/completions. With pictures the messages are sent, to
/v1/chat/completions, because only there a picture has its place; the engine then renders them by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from app.inference.remote.failures import said_error
from app.inference.remote.heard import Counts, Ended, Heard, Json, Piece
from app.inference.remote.pictures import data_url
from app.inference.types import Endpoint, FinishReason, GenerateRequest, Loading, Message, Queued, Started, Token

MAX_STOPS = 4  # what the protocol allows; our own scanner looks for all of them
_UNKNOWN = 0  # the protocol does not tell ids


class _Cached(BaseModel):
    cached_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _Cached | None = None

    @property
    def counts(self) -> Counts:
        reused = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None
        return Counts(
            prompt_tokens=self.prompt_tokens, generated_tokens=self.completion_tokens, reused_tokens=reused or 0
        )


class _ChatDelta(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _ChatDelta | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None  # of vLLM, and ours: the string, or the token's id

    @property
    def said(self) -> str:
        return (self.delta.content if self.delta else self.text) or ""


class _Progress(BaseModel):
    """What another core tells before it answers."""

    stage: Literal["loading", "queued", "started"]
    what: str = ""
    fraction: float = 0
    position: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    seed: int = 0

    def heard(self, model: str) -> Heard:
        match self.stage:
            case "loading":
                return Loading(model=model, what=self.what, fraction=self.fraction, position=self.position)
            case "queued":
                return Queued(position=self.position)
            case "started":
                return Started(prompt_tokens=self.prompt_tokens, reused_tokens=self.reused_tokens, seed=self.seed)


class _Chunk(BaseModel):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    progress: _Progress | None = None
    error: Any = None


@dataclass(slots=True, kw_only=True)
class OpenAISpeech:
    endpoint: Endpoint
    request: GenerateRequest
    stops: Sequence[str]
    seed: int
    reason: FinishReason | None = None
    stop: str | None = None
    counts: Counts = field(default_factory=Counts)

    @property
    def url(self) -> str:
        base = self.endpoint.url.rstrip("/").removesuffix("/v1")
        return f"{base}/v1/{'chat/completions' if self.request.prompt.images else 'completions'}"

    @property
    def body(self) -> Json:
        sampling = self.request.sampling
        wishes: Mapping[str, tuple[Any, bool]] = {  # what not every engine knows is sent only where it says something
            "top_k": (sampling.top_k, sampling.top_k > 0),
            "repetition_penalty": (sampling.repetition_penalty, sampling.repetition_penalty != 1),
            "stop": (list(self.stops[:MAX_STOPS]), bool(self.stops)),
            "ignore_eos": (True, sampling.ignore_eos),
            "truncate_prompt_tokens": (self.request.truncate, self.request.truncate is not None),
        }
        return {
            "model": self.endpoint.model,
            **self._prompt(),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": self.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            **{name: value for name, (value, said) in wishes.items() if said},
        }

    def _prompt(self) -> Json:
        prompt = self.request.prompt
        return {"messages": [_said(one) for one in prompt.messages]} if prompt.images else {"prompt": prompt.text}

    def hear(self, data: str) -> Iterator[Heard]:
        if data == "[DONE]":
            if self.reason is None:
                raise ValueError("the stream ends without a reason")
            yield Ended(reason=self.reason, counts=self.counts, stop=self.stop)
            return
        chunk = _Chunk.model_validate_json(data)
        if chunk.error is not None:
            raise said_error(chunk.error)
        if chunk.usage:
            self.counts = chunk.usage.counts
        if chunk.progress:
            yield chunk.progress.heard(self.request.model)
        for choice in chunk.choices:
            yield from self._choice(choice)

    def _choice(self, choice: _Choice) -> Iterator[Piece]:
        if choice.said:
            token = Token(id=_UNKNOWN, text=choice.said, logprob=float("nan"), special=False)
            yield Piece(text=choice.said, tokens=(token,))
        if choice.finish_reason:
            self.stop = choice.stop_reason if isinstance(choice.stop_reason, str) else None
            ended = FinishReason.STOP if self.stop else FinishReason.EOS
            self.reason = FinishReason.LENGTH if choice.finish_reason == "length" else ended


def _said(message: Message) -> Json:
    if not message.images:
        return {"role": message.role.value, "content": message.text}
    pictures = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in message.images]
    return {"role": message.role.value, "content": [*pictures, {"type": "text", "text": message.text}]}
