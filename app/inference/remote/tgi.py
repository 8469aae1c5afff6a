"""A request in the words of text-generation-inference: the rendered prompt, to /generate_stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from app.inference.errors import NotSupported
from app.inference.remote.failures import said_error
from app.inference.remote.heard import Counts, Ended, Heard, Json, Piece
from app.inference.remote.pictures import data_url
from app.inference.types import Endpoint, FinishReason, GenerateRequest, Prompt, Token

MAX_STOPS = 4  # of a server as it comes; our own scanner looks for all of them
_IMAGE = "<image>"
_Reason = Literal["eos_token", "stop_sequence", "length"]
_REASONS: Mapping[_Reason, FinishReason] = {
    "eos_token": FinishReason.EOS,
    "stop_sequence": FinishReason.STOP,
    "length": FinishReason.LENGTH,
}


class _Token(BaseModel):
    id: int
    text: str
    logprob: float | None = None
    special: bool

    @property
    def piece(self) -> Piece:
        shown = "" if self.special else self.text
        logprob = float("nan") if self.logprob is None else self.logprob
        return Piece(text=shown, tokens=(Token(id=self.id, text=shown, logprob=logprob, special=self.special),))


class _Details(BaseModel):
    finish_reason: _Reason
    generated_tokens: int
    input_length: int | None = None

    @property
    def ended(self) -> Ended:
        counts = Counts(prompt_tokens=self.input_length, generated_tokens=self.generated_tokens)
        return Ended(reason=_REASONS[self.finish_reason], counts=counts)


class _Event(BaseModel):
    token: _Token | None = None
    details: _Details | None = None
    error: Any = None
    error_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TgiSpeech:
    endpoint: Endpoint
    request: GenerateRequest
    stops: Sequence[str]
    seed: int

    @property
    def url(self) -> str:
        return f"{self.endpoint.url.rstrip('/')}/generate_stream"

    @property
    def body(self) -> Json:
        """Raises NotSupported for what no field of the protocol says."""
        sampling = self.request.sampling
        if sampling.ignore_eos:
            raise NotSupported(
                "ignore_eos is not known to the TGI server that serves this model.",
                hint="Leave ignore_eos out.",
                param="ignore_eos",
            )
        sampled: Mapping[str, tuple[Any, bool]] = {  # the server refuses the values that mean nothing
            "temperature": (sampling.temperature, not sampling.greedy),
            "top_p": (sampling.top_p, not sampling.greedy and sampling.top_p < 1),
            "top_k": (sampling.top_k, not sampling.greedy and sampling.top_k > 0),
            "repetition_penalty": (sampling.repetition_penalty, sampling.repetition_penalty != 1),
            "truncate": (self.request.truncate, self.request.truncate is not None),
        }
        parameters = {
            "details": True,
            "do_sample": not sampling.greedy,
            "max_new_tokens": sampling.max_tokens,
            "seed": self.seed,
            "stop": list(self.stops[:MAX_STOPS]),
            **{name: value for name, (value, said) in sampled.items() if said},
        }
        return {"inputs": _inputs(self.request.prompt), "parameters": parameters}

    def hear(self, data: str) -> Iterator[Heard]:
        event = _Event.model_validate_json(data)
        if event.error is not None:
            raise said_error({"error": event.error, "error_type": event.error_type})
        if event.token:
            yield event.token.piece
        if event.details:
            yield event.details.ended


def _inputs(prompt: Prompt) -> str:
    """A picture's mark becomes the picture, as TGI wants it: ![](data:…)."""
    first, *rest = prompt.text.split(_IMAGE) if prompt.images else [prompt.text]
    return first + "".join(f"![]({data_url(image)}){text}" for image, text in zip(prompt.images, rest, strict=True))
