"""What the gate lets through to the core and back, when the core or whoever asks is not as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from app import forward
from app.access import Gate
from app.playground.core import Core, Place
from app.playground.rates import Rate, Rates
from spaces_runner.core import keys
from spaces_runner.settings import Settings
from tests.support.gate import gate
from tests.support.inference_server import bearer, listening, until
from tests.support.web import TOKEN

CORE_TOKEN = "token-of-the-odd-core"
JSON = "application/json"
SSE = "text/event-stream"


@dataclass(slots=True)
class OddCore:
    """Answers anything with what a test wants, and remembers what it was asked."""

    status: int = 200
    kind: str = JSON
    body: bytes = b'{"data": []}'
    breaks_off: bool = False
    waits: bool = False
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive()).get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append({"path": scope["raw_path"], "query": scope["query_string"], "headers": headers, "body": body})
        while self.waits:
            await asyncio.sleep(0.01)
        told = [
            (b"content-type", self.kind.encode()),
            (b"set-cookie", b"spaces-runner=stolen"),
            (b"access-control-allow-origin", b"*"),
            (b"www-authenticate", CORE_TOKEN.encode()),
            (b"x-ignored-fields", b"logprobs"),
        ]
        if self.kind != SSE:
            told.append((b"content-length", b"%d" % (len(self.body) + 100 * self.breaks_off)))
        await send({"type": "http.response.start", "status": self.status, "headers": told})
        await send({"type": "http.response.body", "body": self.body, "more_body": self.breaks_off})


@pytest.fixture
def core() -> OddCore:
    return OddCore()


@pytest.fixture
def found(core: OddCore) -> Iterator[Core]:
    """The core as the gate finds it."""
    with listening(core) as address:
        yield Core(find=lambda: Place(url=address, token=CORE_TOKEN))


@pytest.fixture
def before(found: Core, settings: Settings) -> Gate:
    return gate(found, settings)


@pytest.fixture
def door(before: Gate, found: Core) -> Iterator[str]:
    with listening(before, found.close) as address:
        yield address


@pytest.fixture
def program(door: str, settings: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=door, headers=bearer(keys.issue(settings, "odd")), timeout=20) as client:
        yield client


def test_the_core_is_told_who_asks_and_nothing_that_is_not_its_own(program: httpx.Client, core: OddCore) -> None:
    told = {
        "cookie": "spaces-runner-guest=secret",
        "x-client": "owner",
        "x-forwarded-for": "203.0.113.9",
        "x-api-key": "another",
        "content-type": JSON,
        "te": "trailers",
    }
    program.post("/v1/chat/completions?token=secret", headers=told, content=b'{"model": "m"}')
    [asked] = core.seen
    headers = asked["headers"]
    assert asked["body"] == b'{"model": "m"}' and asked["path"] == b"/v1/chat/completions" and asked["query"] == b""
    assert headers["authorization"] == f"Bearer {CORE_TOKEN}"
    assert headers["x-client"] == "program:odd" and headers["content-type"] == JSON
    assert headers["host"] != program.base_url.netloc.decode()
    assert set(headers) <= {
        "host", "accept", "accept-encoding", "connection", "user-agent", "authorization", "content-type",
        "content-length", "x-client",
    }  # fmt: skip


def test_of_the_cores_headers_only_those_for_programs_come_back(program: httpx.Client) -> None:
    answer = program.get("/v1/models")
    assert answer.json() == {"data": []} and answer.headers["x-ignored-fields"] == "logprobs"
    assert CORE_TOKEN not in str(answer.headers) + answer.text
    assert not {"set-cookie", "access-control-allow-origin", "www-authenticate"} & set(answer.headers)
    assert answer.headers["x-content-type-options"] == "nosniff", "and the gate's own"


@pytest.mark.parametrize("status", [401, 403])
def test_a_core_that_refuses_the_pages_token_is_no_fault_of_the_key(
    program: httpx.Client, core: OddCore, status: int
) -> None:
    core.status = status
    answer = program.get("/v1/models")
    assert answer.status_code == 502 and "this page's token" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/completions", '{"error": {"message": '),
        ("/tgi/m/generate_stream", '"error_type": "incomplete_generation"'),
    ],
)
def test_a_stream_that_breaks_off_ends_with_an_error(
    program: httpx.Client, core: OddCore, path: str, error: str
) -> None:
    core.kind, core.body, core.breaks_off = SSE, b"data: half of an ev", True
    text = program.post(path, json={}).text
    assert text.startswith("data: half of an ev\n\ndata: ") and text.endswith("\n\n")
    assert error in text and "broke off" in text


def test_an_answer_that_breaks_off_is_not_passed_for_a_whole_one(program: httpx.Client, core: OddCore) -> None:
    core.breaks_off = True
    with pytest.raises(httpx.RemoteProtocolError):
        program.get("/v1/models")


def test_a_core_that_is_away_is_told_and_looked_for_anew(settings: Settings, core: OddCore) -> None:
    places = ["http://127.0.0.1:9"]
    away = Core(find=lambda: Place(url=places[0], token=CORE_TOKEN))
    key = keys.issue(settings, "odd")
    with listening(gate(away, settings), away.close) as door, listening(core) as address:
        gone = httpx.get(f"{door}/v1/models", headers=bearer(key))
        assert gone.status_code == 503 and "does not answer" in gone.json()["error"]["message"]
        places[0] = address
        assert httpx.get(f"{door}/v1/models", headers=bearer(key)).status_code == 200


def test_who_watches_starts_nothing(settings: Settings, core: OddCore) -> None:
    with listening(core) as address:
        runs: list[Place] = []
        started: list[str] = []

        def find() -> Place:
            started.append("")
            return Place(url=address, token=CORE_TOKEN)

        asleep = Core(find=find, seek=lambda: runs[0] if runs else None)
        with listening(gate(asleep, settings), asleep.close) as door:
            quiet = httpx.get(f"{door}/metrics", headers=bearer(TOKEN))
            assert quiet.status_code == 503 and "does not run" in quiet.text and not started
            runs.append(Place(url=address, token=CORE_TOKEN))
            assert httpx.get(f"{door}/metrics", headers=bearer(TOKEN)).status_code == 200


def test_a_key_that_asks_too_often_is_told_when_to_come_back(before: Gate, program: httpx.Client) -> None:
    before.programs.rates = Rates(each=Rate(burst=2, per_minute=6), together=Rate(burst=9, per_minute=9))
    answers = [program.post("/v1/completions", json={}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 10
    assert answers[2].json()["error"]["type"] == "rate_limit_error"
    assert program.get("/v1/models").status_code == 200, "to look is free"


def test_one_key_cannot_take_every_place(
    program: httpx.Client, core: OddCore, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    monkeypatch.setattr(forward, "AT_ONCE", 2)
    core.waits = True
    with ThreadPoolExecutor(2) as waiting:
        held = [waiting.submit(program.get, "/v1/models") for _ in range(2)]
        until(lambda: len(core.seen) == 2)
        assert program.get("/v1/models").status_code == 429
        core.waits = False
        assert [answer.result(10).status_code for answer in held] == [200, 200]
    until(lambda: program.get("/v1/models").status_code == 200)  # a place is free once its answer has left the server
