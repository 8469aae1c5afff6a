"""The core over HTTP: which models there are, and the events of an answer. Knows no conversations and no page.

The core speaks the OpenAI protocol with a few words more (docs/reference/http-api.md): `progress` while a model is
loaded or a request waits, `timings` at the end. An engine that does not say them gives the same events, fewer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx

from app.inference.types import Delta, Event, Finished, FinishReason, Loading, Message, Queued, Started, Usage
from app.playground.errors import CoreAway, CoreRefused
from app.playground.export import data_url

SILENCE_S = 120.0  # a stream says at least a keep-alive every few seconds
ANSWER_S = 10.0
CONNECT_S = 5.0
LOAD_S = 1800.0
_AWAY = "The models' server does not answer."
_AWAY_HINT = "It is started again with the next message; its log says why it ended: spaces-runner core logs."
_BROKE_OFF = "The models' server broke off in the middle of the answer."

Sampling = Mapping[str, float | int]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as the core has it now. `defaults`: the sampling of its original demo, as far as the core says it."""

    name: str
    title: str
    demo: bool = False
    context: int = 0
    residency: str = ""
    device: str = ""
    defaults: Sampling = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """`client` is the person for whom it is asked. What `sampling` does not say is the model's own default."""

    model: str
    messages: Sequence[Message]
    client: str
    sampling: Sampling = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A program's own request, which the core gets as it is. `client` is for whom it is asked."""

    method: str
    path: str  # percent-encoded
    client: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(slots=True)
class CoreClient:
    """One core. Its methods raise CoreAway where it cannot be reached and CoreRefused where it says no."""

    url: str
    token: str = field(repr=False)
    _http: httpx.AsyncClient = field(init=False, repr=False)
    _streams: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"authorization": f"Bearer {self.token}"},
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            trust_env=False,  # it is on this machine: no proxy stands before it
        )

    async def close(self) -> None:
        await self._http.aclose()
        if self._streams is not None:
            await self._streams.close()

    async def models(self) -> tuple[Model, ...]:
        """Every model on offer, in the order of the catalogue."""
        return tuple(_model(entry) for entry in await self.offers())

    async def offers(self) -> tuple[Json, ...]:
        """The same with all that the core says of each (docs/reference/http-api.md)."""
        return tuple((await self._ask("GET", "/v1/models")).get("data", ()))

    async def load(self, model: str) -> None:
        """Returns when it is resident."""
        await self._ask("POST", f"/v1/models/{model}/load", timeout=LOAD_S)

    async def sleep(self, model: str) -> None:
        await self._ask("POST", f"/v1/models/{model}/sleep", timeout=LOAD_S)

    async def unload(self, model: str) -> None:
        await self._ask("POST", f"/v1/models/{model}/unload", timeout=LOAD_S)

    async def count(self, model: str, text: str) -> int:
        """How many tokens `text` is to the model."""
        body = await self._ask("POST", "/tokenize", {"model": model, "prompt": text})
        return int(body.get("count") or 0)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """The events of one answer. Closing the iterator closes the stream, by which the core's slot is freed."""
        body = {
            "model": request.model,
            "messages": [_message(message) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **request.sampling,
        }
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=SILENCE_S)
        with _reached(_BROKE_OFF):
            async with self._streaming().post(
                f"{self.url.rstrip('/')}/v1/chat/completions",
                json=body,
                headers={"x-client": request.client},
                timeout=timeout,
            ) as response:
                if not response.ok:
                    raise _refusal(response.status, await response.text())
                async with aclosing(_chunks(response.content)) as chunks:
                    ending = _Ending()
                    async for chunk in chunks:
                        for event in ending.events(chunk):
                            yield event
                    yield ending.finished()

    async def pass_on(self, asked: Passed) -> httpx.Response:
        """The core's answer, its body still to be read. Closing it ends the request, finished or not."""
        request = self._http.build_request(
            asked.method,
            asked.path,
            content=asked.body,
            headers={**asked.headers, "x-client": asked.client, "accept-encoding": "identity"},
            timeout=httpx.Timeout(LOAD_S, connect=CONNECT_S),
        )
        with _reached(_AWAY):
            return await self._http.send(request, stream=True)

    async def _ask(self, method: str, path: str, body: Json | None = None, timeout: float = ANSWER_S) -> Json:
        patience = httpx.Timeout(timeout, connect=CONNECT_S)
        with _reached(_AWAY):
            response = await self._http.request(method, path, json=body, timeout=patience)
        if response.is_error:
            raise _refusal(response.status_code, response.text)
        return _object(response.text)

    def _streaming(self) -> aiohttp.ClientSession:
        """For streams: with hundreds of them, httpx alone would keep a core half busy (a fourth of it with this)."""
        if self._streams is None:
            self._streams = aiohttp.ClientSession(
                headers={"authorization": f"Bearer {self.token}"},
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._streams


@dataclass(slots=True)
class _Ending:
    """Collects what the last chunks of a stream say, each a part of it."""

    reason: FinishReason | None = None
    stop: str | None = None
    usage: Json = field(default_factory=dict)
    timings: Json = field(default_factory=dict)

    def events(self, chunk: Json) -> Iterator[Event]:
        if (progress := chunk.get("progress")) and (event := _progress(progress, str(chunk.get("model", "")))):
            yield event
        for choice in chunk.get("choices") or ():
            if text := (choice.get("delta") or {}).get("content"):
                yield Delta(text=text, tokens=())
            if reason := choice.get("finish_reason"):
                self.stop = choice.get("stop_reason")
                self.reason = FinishReason.LENGTH if reason == "length" else FinishReason.EOS
        self.usage = chunk.get("usage") or self.usage
        self.timings = chunk.get("timings") or self.timings

    def finished(self) -> Finished:
        """Raises CoreAway where the stream ended without an end."""
        if self.reason is None:
            raise CoreAway(_BROKE_OFF, hint=_AWAY_HINT)
        generated = int(self.usage.get("completion_tokens") or 0)
        return Finished(reason=self.reason, stop=self.stop, usage=Usage(
            prompt_tokens=int(self.usage.get("prompt_tokens") or 0),
            generated_tokens=generated,
            reused_tokens=int((self.usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
            queue_s=float(self.timings.get("queue_s") or 0),
            prefill_s=float(self.timings.get("prefill_s") or 0),
            decode_s=float(self.timings.get("decode_s") or 0),
        ))  # fmt: skip


def _progress(progress: Json, model: str) -> Event | None:
    match progress:
        case {
            "stage": "loading", "what": str(what), "fraction": int() | float() as fraction, "position": int(position)
        }:  # fmt: skip
            return Loading(model=model, what=what, fraction=float(fraction), position=position)
        case {"stage": "queued", "position": int(position)}:
            return Queued(position=position)
        case {"stage": "started", "prompt_tokens": int(prompt), "reused_tokens": int(reused), "seed": int(seed)}:
            return Started(prompt_tokens=prompt, reused_tokens=reused, seed=seed)
    return None


async def _chunks(content: aiohttp.StreamReader) -> AsyncGenerator[Json, None]:
    """The objects of a stream of Server-Sent Events, up to its end mark. Raises CoreRefused at one that is an error."""
    rest = b""
    async for piece in content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
            if data == b"[DONE]":
                return
            if data:
                chunk = _object(data)
                if "error" in chunk:
                    raise _refused(chunk)
                yield chunk


def _message(message: Message) -> Json:
    if not message.images:
        return {"role": message.role.value, "content": message.text}
    pictures = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in message.images]
    return {"role": message.role.value, "content": [*pictures, {"type": "text", "text": message.text}]}


def _model(entry: Json) -> Model:
    return Model(
        name=str(entry["id"]),
        title=str(entry.get("title") or entry["id"]),
        demo=bool(entry.get("demo")),
        context=int(entry.get("context") or 0),
        residency=str(entry.get("residency") or ""),
        device=str(entry.get("device") or ""),
        defaults=entry.get("defaults") or {},
    )


def _refusal(status: int, text: str) -> CoreRefused:
    try:
        return _refused(_object(text))
    except CoreAway:
        return CoreRefused(f"The models' server answered with an error ({status}).")


def _refused(body: Json) -> CoreRefused:
    error = body.get("error")
    if isinstance(error, dict):
        return CoreRefused(str(error.get("message") or "The model cannot answer."), code=str(error.get("code") or ""))
    return CoreRefused(str(error or "The models' server answered with an error."))


def _object(text: str | bytes) -> Json:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CoreAway("The models' server answered something that cannot be read.", hint=_AWAY_HINT) from error
    return value if isinstance(value, dict) else {}


@contextmanager
def _reached(message: str) -> Iterator[None]:
    try:
        yield
    except (httpx.ConnectError, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise CoreAway(_AWAY, hint=_AWAY_HINT) from error
    except (httpx.HTTPError, aiohttp.ClientError) as error:
        raise CoreAway(message, hint=_AWAY_HINT) from error
