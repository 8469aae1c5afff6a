"""The nouns of the core: frozen values that cross its modules. Knows neither torch nor HTTP, does nothing.

A request flows: Message -> Prompt -> GenerateRequest -> (Loading, Queued) -> Started -> Delta ... -> Finished.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from app.inference.errors import BadSampling

MAX_STOPS = 16  # stop strings in one request
MAX_STOP_CHARS = 256
MAX_SEED = 2**63 - 1


class Family(StrEnum):
    """An architecture: what differs between them is in `app.inference.families`."""

    LLAMA = "llama"
    MPT = "mpt"
    LLAVA = "llava"


class Precision(StrEnum):
    """What the weights of the linear layers are held in."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    NF4 = "nf4"  # 4-bit normal floats, the scales quantised once more (QLoRA)

    @property
    def quantised(self) -> bool:
        return self in (Precision.INT8, Precision.NF4)


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class FinishReason(StrEnum):
    EOS = "eos"  # the model said that it is done
    STOP = "stop"  # a stop string came up
    LENGTH = "length"  # max_tokens, or the context, is full


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation. `images`: encoded pictures (PNG, JPEG, WebP, GIF), in the order they are shown."""

    role: Role
    text: str
    images: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What the model is to go on from. One `<image>` in `text` for each of `images`.

    `messages` is the conversation it was rendered from, for an engine elsewhere that renders by itself.
    """

    text: str
    images: tuple[bytes, ...] = field(default=(), repr=False)
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen, and when to stop. Raises BadSampling for a value out of its range."""

    max_tokens: int = 256
    temperature: float = 1.0  # 0: always the likeliest token
    top_p: float = 1.0
    top_k: int = 0  # 0: all tokens
    repetition_penalty: float = 1.0  # divides the positive scores of tokens seen before, multiplies the negative ones
    seed: int | None = None  # None: drawn at admission, and told in Started
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False  # for measurements: go on to max_tokens

    def __post_init__(self) -> None:
        _within("max_tokens", self.max_tokens, 1, math.inf)
        _within("temperature", self.temperature, 0, 100)
        _within("top_p", self.top_p, 0, 1, open_low=True)
        _within("top_k", self.top_k, 0, math.inf)
        _within("repetition_penalty", self.repetition_penalty, 0, 100, open_low=True)
        if self.seed is not None:
            _within("seed", self.seed, 0, MAX_SEED)
        if len(self.stop) > MAX_STOPS:
            raise BadSampling(f"stop has {len(self.stop)} strings; at most {MAX_STOPS} are allowed.", param="stop")
        if any(not 1 <= len(text) <= MAX_STOP_CHARS for text in self.stop):
            raise BadSampling(f"Each string of stop has 1 to {MAX_STOP_CHARS} characters.", param="stop")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0 or self.top_k == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """One request, whatever protocol it came by. `client` is whom fair queueing counts it for."""

    id: str
    client: str
    model: str
    prompt: Prompt
    sampling: SamplingParams
    truncate: int | None = None  # keep only the last so many prompt tokens; None: a prompt that is too long is an error


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """`text` is what this token adds to the text so far; the texts of all tokens, joined, are the raw output."""

    id: int
    text: str
    logprob: float  # of the token under the model, before temperature and penalties
    special: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    prompt_tokens: int
    generated_tokens: int
    reused_tokens: int = 0  # of the prompt, taken from an earlier request's cache
    queue_s: float = 0.0
    prefill_s: float = 0.0  # from admission to the first token
    decode_s: float = 0.0  # from the first token to the last

    @property
    def tokens_per_s(self) -> float:
        """Of decoding; 0 where there was only one token."""
        return (self.generated_tokens - 1) / self.decode_s if self.decode_s > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """The model is being made ready. `fraction` is in [0, 1]; `position`: how many wait for it and came before."""

    model: str
    what: str
    fraction: float
    position: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """Comes of every accepted request, once or more, and before it Loading alone.

    `position`: how many are before it; 0 means it is next or running.
    """

    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    prompt_tokens: int
    reused_tokens: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """`text` can be shown: it never holds a part of a stop string, nor half a character. It may be empty."""

    text: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    reason: FinishReason
    usage: Usage
    stop: str | None = None  # the stop string that came up


Event = Loading | Queued | Started | Delta | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An engine elsewhere that serves a model. `protocol` is "openai" or "tgi"."""

    url: str
    protocol: str
    model: str  # the name it has there
    token_file: str | None = None  # a file with the bearer token


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model on offer, as `models.toml` says it."""

    name: str
    title: str
    family: Family
    weights: str  # a directory, or a repository of the Hub
    revision: str | None = None
    adapter: str | None = None  # likewise
    adapter_revision: str | None = None
    precision: Precision
    prompt: str  # the name of its renderer
    context: int  # tokens, prompt and answer together
    defaults: SamplingParams  # of the original demo; its stop strings hold for every request
    demo: bool = False  # small weights trained to show how things work
    remote: Endpoint | None = None

    @property
    def base(self) -> tuple[str, str | None, Precision]:
        """Cards with the same base share its weights: it is resident once."""
        return (self.weights, self.revision, self.precision)


class Residency(StrEnum):
    ABSENT = "absent"  # on disk or on the Hub
    LOADING = "loading"
    RESIDENT = "resident"
    ASLEEP = "asleep"  # in host memory
    REMOTE = "remote"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """What a model takes up now. Cards that share a base show the same bytes."""

    card: ModelCard
    residency: Residency
    device: str = ""  # cpu, cuda:0
    promised_bytes: int = 0  # leased for what is being loaded or woken, and perhaps not taken up yet
    weight_bytes: int = 0
    kv_bytes: int = 0
    kv_tokens: int = 0  # how many fit
    kv_tokens_awake: int = 0  # how many fit whenever it is resident; 0 where that is not known yet
    kv_tokens_used: int = 0
    running: int = 0
    pauses: int = 0  # how often one of them had to wait for room, since it is resident
    waiting: int = 0
    fraction: float = 0.0  # of loading
    error: str = ""

    @property
    def context(self) -> int:
        """Tokens, prompt and answer together: the card's, or what the cache holds where that is less."""
        return min(self.card.context, self.kv_tokens_awake or self.card.context)


def _within(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> None:
    inside = low < value <= high if open_low else low <= value <= high
    if not inside:  # NaN is never inside
        bounds = f"{'more than' if open_low else 'at least'} {low:g}" + (
            "" if high == math.inf else f" and at most {high:g}"
        )
        raise BadSampling(f"{name} is {value!r}; it must be {bounds}.", param=name)
