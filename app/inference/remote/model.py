"""One model that an engine elsewhere serves, by the events of our own. Closing the iterator closes the connection,
which is how such engines are told to stop."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from app.inference.errors import RemoteFailed
from app.inference.remote.failures import refused
from app.inference.remote.heard import Heard, Speech
from app.inference.remote.openai import OpenAISpeech
from app.inference.remote.sse import data_of
from app.inference.remote.telling import Telling
from app.inference.remote.tgi import TgiSpeech
from app.inference.stopping import StopScanner
from app.inference.types import Endpoint, Event, Finished, GenerateRequest, ModelCard

TIMEOUT = httpx.Timeout(30.0, read=300.0)  # engines say nothing while a request waits in their queue
MAX_ERROR = 64 * 1024  # bytes of an answer that is no stream
_SEEDS = 2**31  # engines differ in how large one may be
_SPEECHES = {"openai": OpenAISpeech, "tgi": TgiSpeech}


class RemoteModel:
    def __init__(self, card: ModelCard) -> None:
        """Raises ValueError for a card without an endpoint, or one of a protocol that is not known."""
        if card.remote is None or card.remote.protocol not in _SPEECHES:
            raise ValueError(f"{card.name} names no engine elsewhere whose protocol is one of {', '.join(_SPEECHES)}")
        self._card = card
        self._endpoint: Endpoint = card.remote
        self._where = f"The engine at {urlsplit(card.remote.url).netloc.rpartition('@')[2]}"
        self._trust = ssl.create_default_context()  # costly to make, and needed for each request

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Event]:
        """The events of one request. Raises RemoteFailed, Overloaded, BadRequest."""
        stops = tuple(dict.fromkeys((*request.sampling.stop, *self._card.defaults.stop)))
        seed = secrets.randbelow(_SEEDS) if request.sampling.seed is None else request.sampling.seed
        speech = _SPEECHES[self._endpoint.protocol](endpoint=self._endpoint, request=request, stops=stops, seed=seed)
        telling = Telling(scanner=StopScanner(stops), seed=seed)
        try:
            async with aclosing(self._heard(speech)) as heard:
                async for together in heard:
                    for event in telling.tell(together):
                        yield event
                        if isinstance(event, Finished):
                            return
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteFailed(f"{self._where} did not answer: {error or type(error).__name__}.") from error
        except ValueError as error:  # of pydantic, too
            raise RemoteFailed(f"{self._where} said what is not understood: {str(error)[:200]}") from error
        raise RemoteFailed(f"{self._where} broke off before the answer was finished.")

    async def _heard(self, speech: Speech) -> AsyncGenerator[list[Heard], None]:
        """What is said until the connection ends, event by event."""
        async with (
            httpx.AsyncClient(verify=self._trust, timeout=TIMEOUT, headers=self._headers()) as client,
            client.stream("POST", speech.url, json=speech.body) as response,
        ):
            if response.status_code != 200:
                raise refused(self._where, response.status_code, response.headers, await _start_of(response))
            async with aclosing(data_of(response.aiter_bytes())) as events:
                async for data in events:
                    yield list(speech.hear(data))

    def _headers(self) -> dict[str, str]:
        """The token is read anew for each request: it may change. Raises RemoteFailed."""
        if self._endpoint.token_file is None:
            return {}
        try:
            token = Path(self._endpoint.token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RemoteFailed(
                f"The token for {self._where[4:]} cannot be read from {self._endpoint.token_file}.",
                hint="Look at the model's remote.token_file.",
            ) from error
        return {"Authorization": f"Bearer {token}"}


async def _start_of(response: httpx.Response) -> bytes:
    """The body of an error, or as much of it as is worth reading."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ERROR:
            break
    return body
