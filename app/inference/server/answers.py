"""One request → its answer, whole or as a stream, in the manner of a protocol. Knows no protocol itself."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.inference.errors import InferenceError
from app.inference.server import failures
from app.inference.server.metrics import Meter
from app.inference.server.streams import ClientLeft, Events, attended, kept_alive
from app.inference.types import Delta, Event, Finished, Started, Token

STREAM_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # a proxy must not collect what is meant to be seen as it comes
}
KEEP_ALIVE = b": keep-alive\n\n"  # a comment of Server-Sent Events: clients pass over it
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A request that is done. `seconds`: all it took."""

    text: str
    tokens: tuple[Token, ...]
    started: Started
    finished: Finished
    seconds: float


class Style(Protocol):
    """How one protocol says things, for one request."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Of a stream."""

    def piece(self, event: Event) -> bytes:
        """What a stream says at an event; nothing, at some."""

    def broken(self, error: InferenceError) -> bytes:
        """What a stream says at an error, which ends it."""

    def whole(self, result: Result) -> Response: ...

    def refusal(self, error: InferenceError) -> Response: ...


class Answer(Response):
    """Runs the request while it is sent, so that what becomes of the client and of the request is one thing."""

    def __init__(self, source: AsyncIterator[Event], style: Style, meter: Meter, *, stream: bool) -> None:
        self.source = source
        self.style = style
        self.meter = meter
        self.stream = stream
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tell = self._streamed if self.stream else self._whole
        with self.meter as meter:
            try:
                await attended(receive, tell(scope, receive, send))
            except ClientLeft:
                meter.left()

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with Events(self.source) as events:
                response = self.style.whole(await self._collected(events))
        except Exception as error:  # noqa: BLE001  # the boundary: whoever asked must hear of it
            response = self.style.refusal(self._failed(error))
        await response(scope, receive, send)

    async def _collected(self, events: Events) -> Result:
        begun = time.monotonic()
        started = Started(prompt_tokens=0, reused_tokens=0, seed=0)
        deltas: list[Delta] = []
        async for event in events.rest([]):
            self.meter.seen(event)
            match event:
                case Started():
                    started = event
                case Delta():
                    deltas.append(event)
                case Finished():
                    finished = event
        return Result(
            text="".join(delta.text for delta in deltas),
            tokens=tuple(token for delta in deltas for token in delta.tokens),
            started=started,
            finished=finished,
            seconds=time.monotonic() - begun,
        )

    async def _streamed(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with Events(self.source) as events:
            try:
                seen = await events.opening()
            except Exception as error:  # noqa: BLE001  # likewise
                await self.style.refusal(self._failed(error))(scope, receive, send)
                return
            await _begin(send, {**STREAM_HEADERS, **self.style.headers})
            async with kept_alive(send, KEEP_ALIVE) as tell:
                async for piece in self._pieces(events, seen):
                    await tell({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self, events: Events, seen: list[Event]) -> AsyncIterator[bytes]:
        try:
            async for event in events.rest(seen):
                self.meter.seen(event)
                if piece := self.style.piece(event):
                    yield piece
        except Exception as error:  # noqa: BLE001  # likewise: a stream that only ends looks like a whole answer
            yield self.style.broken(self._failed(error))

    def _failed(self, error: Exception) -> InferenceError:
        """Count it. What nobody foresaw is logged, and told in a sentence."""
        if not isinstance(error, InferenceError):
            _LOG.error("A request failed in a way that nobody foresaw", exc_info=error)
            error = failures.unforeseen()
        self.meter.failed(error)
        return error


async def _begin(send: Send, headers: Mapping[str, str]) -> None:
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    pairs.append((b"content-type", b"text/event-stream; charset=utf-8"))
    await send({"type": "http.response.start", "status": 200, "headers": pairs})
