"""What becomes of a request when its client leaves, when nothing comes for a while, and when too many come."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from app.inference.errors import GenerationFailed, Interrupted
from app.inference.server import Bounds, Server, bind, create_app, streams, url
from app.inference.types import Event, GenerateRequest, Loading, Queued
from tests.support.inference_server import (
    KEYS,
    TOKEN,
    Script,
    ScriptedService,
    Step,
    bearer,
    delta,
    lines,
    saying,
    serving,
    until,
)

Route = tuple[str, dict[str, object]]
CHAT: Route = ("/v1/chat/completions", {"model": "alpaca", "messages": [{"role": "user", "content": "Go on"}]})
TEXT: Route = ("/v1/completions", {"model": "alpaca", "prompt": "Go on"})
COMPAT: Route = ("/tgi/alpaca", {"inputs": "Go on"})
STREAM: Route = ("/tgi/alpaca/generate_stream", {"inputs": "Go on"})
WHOLE: Route = ("/tgi/alpaca/generate", {"inputs": "Go on"})


def streamed(route: Route) -> Route:
    return route[0], {**route[1], "stream": True}


def endless(request: GenerateRequest) -> Iterator[Step]:
    yield from saying()[:2]
    while True:
        yield delta("more ")
        yield 0.01


def silent(request: GenerateRequest) -> list[Step]:
    return [Queued(position=0), 60.0]


def never_accepted(request: GenerateRequest) -> list[Step]:
    return [60.0]


@contextmanager
def asked(address: str, route: Route) -> Iterator[socket.socket]:
    """A connection on which the request was sent, and whose answer nobody has read. Closed with the context."""
    path, body = route
    raw = json.dumps(body).encode()
    parts = urlsplit(address)
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {TOKEN}\r\n"
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        connection.sendall(head.encode() + f"Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
        yield connection


@pytest.mark.parametrize("script", [endless, silent, never_accepted])
@pytest.mark.parametrize(
    "route",
    [CHAT, streamed(CHAT), TEXT, streamed(TEXT), COMPAT, streamed(COMPAT), WHOLE, STREAM],
    ids=["chat", "chat-stream", "text", "text-stream", "compat", "compat-stream", "generate", "generate-stream"],
)
def test_a_client_that_leaves_cancels_its_request(
    address: str, scripted: ScriptedService, route: Route, script: Script
) -> None:
    scripted.script = script
    with asked(address, route):
        until(lambda: scripted.requests)
        time.sleep(0.05)  # it is under way
        left = time.monotonic()
    until(lambda: scripted.cancelled)
    assert scripted.cancelled[scripted.requests[0].id] - left < 0.5
    assert scripted.ended == []


def test_a_client_that_stays_is_not_cancelled(http: httpx.Client, scripted: ScriptedService) -> None:
    for path, body in (CHAT, streamed(CHAT), COMPAT, streamed(COMPAT), STREAM):
        http.post(path, json=body).raise_for_status()
    assert scripted.ended == [request.id for request in scripted.requests]
    assert scripted.cancelled == {}


def test_many_clients_that_leave_at_once(address: str, scripted: ScriptedService) -> None:
    scripted.script = endless

    async def leave_early() -> None:
        async with httpx.AsyncClient(base_url=address, headers=bearer(TOKEN)) as client:
            path, body = streamed(CHAT)
            async with client.stream("POST", path, json=body) as response:
                async for _ in response.aiter_lines():
                    return

    async def all_of_them() -> None:
        await asyncio.gather(*(leave_early() for _ in range(40)))

    asyncio.run(all_of_them())
    until(lambda: len(scripted.cancelled) >= 40)
    assert sorted(scripted.cancelled) == sorted(request.id for request in scripted.requests)


def test_an_answer_waits_for_a_reader_who_is_slow(address: str, scripted: ScriptedService) -> None:
    """What nobody reads is not asked for, either: the memory of a stream is bounded by the sockets' buffers."""
    told = 0

    def long(request: GenerateRequest) -> Iterator[Step]:
        nonlocal told
        yield from saying()[:2]
        for told in range(10_000):  # noqa: B007  # read by the test
            yield delta("x" * 10_000)

    scripted.script = long
    with asked(address, STREAM):
        until(lambda: told > 1)
        time.sleep(0.5)
        before = told
        time.sleep(0.5)
        assert told == before < 9_999
    until(lambda: scripted.cancelled)


@pytest.mark.parametrize("route", [streamed(CHAT), STREAM])
def test_a_stream_in_which_nothing_comes_stays_alive(
    http: httpx.Client, scripted: ScriptedService, route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.1)
    monkeypatch.setattr(streams, "OPENING_S", 0.1)
    scripted.script = lambda _: [0.5, *saying("late")]
    path, body = route
    with http.stream("POST", path, json=body) as response:
        text = "".join(response.iter_text())
    assert text.startswith(": keep-alive\n\n: keep-alive\n\n")
    assert "late" in text


def test_loading_begins_a_stream(
    http: httpx.Client, scripted: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "OPENING_S", 0.2)
    loading = [Loading(model="alpaca", what="weights", fraction=number / 10) for number in range(10)]
    scripted.script = lambda _: [step for event in loading for step in (event, 0.1)] + saying("late")
    path, body = streamed(CHAT)
    begun = time.monotonic()
    with http.stream("POST", path, json=body) as response:
        assert time.monotonic() - begun < 0.8  # long before all is loaded
        fractions = [json.loads(line)["progress"]["fraction"] for line in lines(response) if '"loading"' in line]
    assert fractions == [event.fraction for event in loading]


def test_a_failure_while_loading_that_comes_late_is_an_event(
    http: httpx.Client, scripted: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "OPENING_S", 0.1)
    failing: list[Step] = [Loading(model="alpaca", what="w", fraction=0.0), 0.3, GenerationFailed("It broke.")]
    scripted.script = lambda _: failing
    path, body = streamed(CHAT)
    openai = http.post(path, json=body)
    assert openai.status_code == 200
    assert '"message":"It broke."' in openai.text
    assert "[DONE]" not in openai.text
    tgi = http.post(STREAM[0], json=STREAM[1])
    assert tgi.status_code == 200
    assert tgi.text.endswith('}\n\ndata:{"error":"It broke.","error_type":"generation"}\n\n')


UNFORESEEN = "Something in the core failed. Try again; its log says more."


def test_an_error_of_the_service_itself_is_a_500_and_the_server_goes_on(
    scripted: ScriptedService, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: GenerateRequest) -> list[Step]:
        raise ZeroDivisionError("a bug")

    scripted.script = broken
    for path, body in (CHAT, streamed(CHAT)):
        answer = http.post(path, json=body)
        assert answer.status_code == 500
        assert answer.json()["error"]["message"] == UNFORESEEN
    tgi = http.post(WHOLE[0], json=WHOLE[1])
    assert tgi.status_code == 424
    assert tgi.json() == {"error": UNFORESEEN, "error_type": "generation"}
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["a bug"] * 3
    scripted.script = lambda _: saying("Well")
    assert http.post(CHAT[0], json=CHAT[1]).status_code == 200


@pytest.mark.parametrize("route", [streamed(CHAT), streamed(TEXT), STREAM], ids=["chat", "text", "generate-stream"])
def test_an_error_of_the_service_itself_in_the_middle_is_the_last_event(
    scripted: ScriptedService, http: httpx.Client, route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    def breaking(request: GenerateRequest) -> Iterator[Step]:
        yield from saying("One")[:-1]
        raise ZeroDivisionError("a bug")

    scripted.script = breaking
    path, body = route
    with http.stream("POST", path, json=body) as response:
        assert response.status_code == 200
        *said, last = [json.loads(line) for line in lines(response)]
    assert "One" in json.dumps(said)
    if route == STREAM:
        assert last == {"error": UNFORESEEN, "error_type": "generation"}
    else:
        expected = {"message": UNFORESEEN, "type": "server_error", "param": None, "code": "generation_failed"}
        assert last == {"error": expected}
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["a bug"]
    until(lambda: 'outcome="generation_failed"' in http.get("/metrics").text)


def test_more_than_can_be_answered_at_once(scripted: ScriptedService) -> None:
    scripted.script = silent
    with serving(scripted, bounds=Bounds(requests=2)) as address, httpx.Client(base_url=address) as client:
        with asked(address, CHAT), asked(address, STREAM):
            until(lambda: len(scripted.requests) == 2)
            full = client.post(CHAT[0], json=CHAT[1], headers=bearer(TOKEN))
            tgi = client.post(WHOLE[0], json=WHOLE[1], headers=bearer(TOKEN))
            watching = [
                client.get(path, headers=bearer(TOKEN)).status_code
                for path in ("/health", "/metrics", "/tgi/alpaca/health")
            ]
        assert watching == [200, 200, 200], "who watches is answered also then"
        assert full.status_code == tgi.status_code == 429
        assert full.headers["retry-after"] == tgi.headers["retry-after"] == "1"
        assert full.json()["error"]["code"] == "overloaded"
        assert tgi.json()["error_type"] == "overloaded"
        until(lambda: len(scripted.cancelled) == 2)
        assert client.get("/health").status_code == 200


def test_a_server_that_stops_tells_those_who_wait(scripted: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_stopping` ends what is under way; the answers are sent before the server is gone."""
    told = asyncio.Event()

    async def interrupted(request: GenerateRequest) -> AsyncIterator[Event]:
        yield Queued(position=0)
        await told.wait()
        raise Interrupted("The core shuts down.")

    async def stop() -> None:
        told.set()

    monkeypatch.setattr(ScriptedService, "generate", lambda _, request: interrupted(request))
    listener, up = bind("127.0.0.1", 0), threading.Event()
    server = Server(create_app(scripted, KEYS), on_started=up.set, on_stopping=stop)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert up.wait(10)
    with (
        httpx.Client(base_url=url(listener), headers=bearer(TOKEN), timeout=20) as client,
        client.stream("POST", STREAM[0], json=STREAM[1]) as response,
    ):
        server.should_exit = True
        assert list(lines(response)) == ['{"error":"The core shuts down.","error_type":"incomplete_generation"}']
    thread.join(10)
    listener.close()
    assert not thread.is_alive()
