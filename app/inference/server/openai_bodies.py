"""What the OpenAI protocol lets a caller say, and what of it is meant here. Pure.

Source: the description of the API (github.com/openai/openai-openapi), chat completions and completions. `top_k`,
`repetition_penalty` and `ignore_eos` are not in it; they are named as vLLM names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from app.inference.errors import BadRequest, NotSupported
from app.inference.server import pictures
from app.inference.server.bodies import Body
from app.inference.types import Message, ModelCard, Prompt, Role, SamplingParams

# Fields that would change the answer in a way that is not offered, and the values by which they ask for nothing.
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "min_p": (0,),
    "modalities": (["text"],),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0,),
    "prompt_embeds": (),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "web_search_options": (),
}
# Fields that cannot change the answer: not worth a word.
_HARMLESS = frozenset(
    {"metadata", "parallel_tool_calls", "prompt_cache_key", "reasoning_effort", "safety_identifier", "service_tier"}
    | {"store", "user", "verbosity"}
)
_ROLES: Mapping[str, Role] = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}


Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class StreamOptions(Body):
    include_usage: bool | None = None


class Generation(Body):
    """What both routes take. A value that is not given is the one of the model's original demo."""

    model: str = Field(min_length=1, max_length=200)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Whole | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Whole | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool | None = None

    @property
    def tokens(self) -> int | None:
        return self.max_tokens

    @property
    def usage_wanted(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Fields that nobody knows: they change nothing, and the answer says so."""
        return tuple(name for name in self.unknown if name not in _HARMLESS and name not in _REFUSED)

    def check(self) -> None:
        """Raises NotSupported for a wish that would be passed over."""
        for name, value in (self.model_extra or {}).items():
            if name in _REFUSED and value is not None and not _among(value, _REFUSED[name]):
                raise NotSupported(f"{name} is not supported here.", hint=f"Leave {name} out.", param=name)
        if self.stream_options is not None and not self.stream:
            raise BadRequest("stream_options is for streams: stream must be true.", param="stream_options")

    def sampling(self, card: ModelCard) -> SamplingParams:
        """Raises BadSampling."""
        given: dict[str, Any] = {
            "max_tokens": self.tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": max(self.top_k, 0) if self.top_k == -1 else self.top_k,  # vLLM's word for all tokens is -1
            "repetition_penalty": self.repetition_penalty,
            "seed": self.seed,
            "stop": (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            "ignore_eos": self.ignore_eos,
        }
        return replace(card.defaults, **{name: value for name, value in given.items() if value is not None})


def _among(value: object, allowed: tuple[Any, ...]) -> bool:
    """Equality that tells 1 from true."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed)


class ImageUrl(Body):
    url: str


class Part(Body):
    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None


class ChatMessage(Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None

    def message(self, where: str) -> Message:
        """`where` is how an error calls it. Raises BadRequest, BadImage."""
        role = _ROLES[self.role]
        if self.content is None and role is not Role.ASSISTANT:
            raise BadRequest(f"{where}.content is missing.", param=f"{where}.content")
        if self.content is None or isinstance(self.content, str):
            return Message(role=role, text=self.content or "")
        named = [(f"{where}.content[{index}]", part) for index, part in enumerate(self.content)]
        texts = [_text(part, name) for name, part in named if part.type == "text"]
        images = [_picture(part, name) for name, part in named if part.type == "image_url"]
        return Message(role=role, text="\n".join(texts), images=tuple(images))


def _text(part: Part, name: str) -> str:
    if part.text is None:
        raise BadRequest(f"{name}.text is missing.", param=f"{name}.text")
    return part.text


def _picture(part: Part, name: str) -> bytes:
    if part.image_url is None:
        raise BadRequest(f"{name}.image_url is missing.", param=f"{name}.image_url")
    return pictures.from_data_url(part.image_url.url, f"{name}.image_url.url")


class ChatRequest(Generation):
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    max_completion_tokens: Whole | None = None

    @property
    def tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def conversation(self) -> list[Message]:
        """Raises BadRequest, BadImage."""
        messages = [message.message(f"messages[{index}]") for index, message in enumerate(self.messages)]
        pictures.few_enough(sum(len(message.images) for message in messages), "messages")
        return messages


class CompletionRequest(Generation):
    prompt: str | list[Any]

    def raw(self, *, images: bool) -> Prompt:
        """The prompt as it is. Raises NotSupported for several, or for one in token ids; BadRequest."""
        text = self._text()
        if images:
            pictures.no_mark(text, "prompt")
        return Prompt(text=text)

    def _text(self) -> str:
        match self.prompt:
            case str() as text:
                return text
            case [str() as text]:
                return text
            case [str(), *_]:
                raise NotSupported("One request has one prompt here.", hint="Send them one by one.", param="prompt")
            case []:
                raise BadRequest("prompt is empty.", param="prompt")
            case _:
                raise NotSupported("prompt must be a text, not token ids.", param="prompt")
