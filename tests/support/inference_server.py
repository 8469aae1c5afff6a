"""A Service that follows a script, and the server over it on loopback."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

import httpx
import pytest
from starlette.types import ASGIApp

from app.inference.errors import InferenceError, UnknownModel
from app.inference.server import AnyOf, Bounds, Caller, Keys, OneKey, Server, bind, create_app, url
from app.inference.types import (
    Delta,
    Event,
    Family,
    Finished,
    FinishReason,
    GenerateRequest,
    Loading,
    ModelCard,
    ModelStatus,
    Precision,
    Queued,
    Residency,
    SamplingParams,
    Started,
    Token,
    Usage,
)

TOKEN = "token-of-the-owner"
GUEST = "token-of-a-guest"
Step = Event | InferenceError | float  # an event, an error that is raised, a pause in seconds
Script = Callable[[GenerateRequest], Iterable[Step]]


def card(name: str, **changes: object) -> ModelCard:
    plain = ModelCard(
        name=name,
        title=name.title(),
        family=Family.LLAMA,
        weights="owner/llama",
        precision=Precision.FP32,
        prompt="alpaca",
        context=512,
        defaults=SamplingParams(max_tokens=64, temperature=0.1, top_p=0.75, stop=("### Instruction:",)),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # the fields of a card by name


CARDS = (
    card("alpaca", adapter="owner/alpaca-adapter"),
    card("guanaco", adapter="owner/guanaco-adapter", prompt="guanaco"),
    card("storyteller", family=Family.MPT, weights="mosaic/storyteller", prompt="mpt-storywriter", demo=True),
    card("llava", family=Family.LLAVA, weights="/models/llava", prompt="llava"),
)


def saying(*texts: str, prompt_tokens: int = 7, seed: int = 5) -> list[Step]:
    """A whole answer, a token for each text."""
    return [
        Queued(position=0),
        Started(prompt_tokens=prompt_tokens, reused_tokens=3, seed=seed),
        *(delta(text, number) for number, text in enumerate(texts, 10)),
        finished(len(texts), prompt_tokens=prompt_tokens),
    ]


def delta(text: str, number: int = 10) -> Delta:
    return Delta(text=text, tokens=(token(text, number),))


def token(text: str, number: int = 10, *, special: bool = False) -> Token:
    return Token(id=number, text=text, logprob=-0.5, special=special)


def finished(tokens: int, reason: FinishReason = FinishReason.EOS, prompt_tokens: int = 7) -> Finished:
    usage = Usage(
        prompt_tokens=prompt_tokens,
        generated_tokens=tokens,
        reused_tokens=3,
        queue_s=0.01,
        prefill_s=0.02,
        decode_s=0.5,
    )
    return Finished(reason=reason, usage=usage, stop="###" if reason is FinishReason.STOP else None)


def loading(seconds: float) -> list[Step]:
    """A model that is read meanwhile: told at first, then nothing for a while."""
    return [Loading(model="a model", what="Reading the weights", fraction=0.1), seconds]


def hello(request: GenerateRequest) -> list[Step]:
    return saying("Hello", " there", "!")


@dataclass(slots=True)
class ScriptedService:
    """Answers as `script` says. `cancelled`: when each request was closed before its end (time.monotonic())."""

    script: Script = hello
    offered: tuple[ModelCard, ...] = CARDS
    requests: list[GenerateRequest] = field(default_factory=list)
    cancelled: dict[str, float] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    residency: dict[str, Residency] = field(default_factory=dict)
    promised: dict[str, int] = field(default_factory=dict)  # bytes
    cache: dict[str, int] = field(default_factory=dict)  # tokens that fit

    def cards(self) -> tuple[ModelCard, ...]:
        return self.offered

    def status(self) -> tuple[ModelStatus, ...]:
        return tuple(self._status(one) for one in self.offered)

    def _status(self, one: ModelCard) -> ModelStatus:
        residency = self.residency.get(one.name, Residency.ABSENT)
        size = 1000 if residency is Residency.RESIDENT else 0
        return ModelStatus(
            card=one,
            residency=residency,
            device="cpu",
            promised_bytes=self.promised.get(one.name, 0),
            weight_bytes=size,
            kv_tokens=size,
            kv_tokens_awake=self.cache.get(one.name, size),
        )

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Event]:
        self.requests.append(request)
        try:
            for step in self.script(request):
                if isinstance(step, InferenceError):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                    continue
                if isinstance(step, Finished):
                    self.ended.append(request.id)
                yield step
        except (GeneratorExit, asyncio.CancelledError):
            if request.id not in self.ended:
                self.cancelled[request.id] = time.monotonic()
            raise

    async def count_tokens(self, model: str, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    async def load(self, model: str) -> None:
        self._become(model, Residency.RESIDENT)

    async def sleep(self, model: str) -> None:
        self._become(model, Residency.ASLEEP)

    async def unload(self, model: str) -> None:
        self._become(model, Residency.ABSENT)

    def _become(self, model: str, residency: Residency) -> None:
        names = [one.name for one in self.offered]
        if model not in names:
            raise UnknownModel(model, names)
        self.residency[model] = residency


KEYS = AnyOf((OneKey(TOKEN), OneKey(GUEST, Caller(name="guest"))))


@contextmanager
def listening(app: ASGIApp, on_stopping: Callable[[], Awaitable[None]] | None = None) -> Iterator[str]:
    """`app` on a free port; its address."""
    listener, answers = bind("127.0.0.1", 0), threading.Event()
    server = Server(app, on_started=answers.set, on_stopping=on_stopping)
    server.config.timeout_graceful_shutdown = 1
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert answers.wait(10), "the server does not answer"
        yield url(listener)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
    assert not thread.is_alive()


def serving(service: ScriptedService, keys: Keys = KEYS, bounds: Bounds | None = None) -> AbstractContextManager[str]:
    """The server over `service` in a thread of its own; its address. Ends with the context."""
    return listening(create_app(service, keys, bounds))


def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Waits for `condition`, and fails when it does not come about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.005)


@pytest.fixture
def scripted() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
def address(scripted: ScriptedService) -> Iterator[str]:
    """Where the server over `scripted` answers."""
    with serving(scripted) as url_of_it:
        yield url_of_it


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    """A client with the owner's token."""
    with httpx.Client(base_url=address, headers=bearer(TOKEN), timeout=20) as client:
        yield client


def bearer(token_of: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of}"}


def lines(response: httpx.Response) -> Iterator[str]:
    """The data of each event of a stream, as it comes."""
    for line in response.iter_lines():
        if line.startswith("data:"):
            yield line.removeprefix("data:").strip()
