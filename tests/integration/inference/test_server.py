"""Who may do what, where the server listens, what it counts, and what it says of itself."""

from __future__ import annotations

import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.inference.errors import GenerationFailed
from app.inference.server import (
    KeyFile,
    Server,
    UnsafeAddress,
    bind,
    bind_file,
    create_app,
    url,
)
from spaces_runner.core import keys
from spaces_runner.settings import Settings
from tests.support.inference_server import GUEST, KEYS, TOKEN, ScriptedService, bearer, saying, serving

CHAT = {"model": "alpaca", "messages": [{"role": "user", "content": "Hi"}]}
PRIVATE = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/alpaca"),
    ("POST", "/v1/models/alpaca/load"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/tokenize"),
    ("GET", "/metrics"),
    ("POST", "/tgi/alpaca"),
    ("POST", "/tgi/alpaca/"),
    ("POST", "/tgi/alpaca/generate"),
    ("POST", "/tgi/alpaca/generate_stream"),
    ("GET", "/tgi/alpaca/info"),
]


# Keys


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_without_a_token_nothing_is_told(address: str, method: str, path: str) -> None:
    wrong = [
        b"Bearer",
        b"Bearer wrong",
        f"Basic {TOKEN}".encode(),
        TOKEN.encode(),
        f"bearer {TOKEN}x".encode(),
        b"\xff",
    ]
    for headers in [{}, *({b"Authorization": value} for value in wrong)]:
        answer = httpx.request(method, address + path, headers=headers, content=b"{")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/health", "/tgi/alpaca/health", "/openapi.json"])
def test_what_is_open_to_everyone(address: str, path: str) -> None:
    assert httpx.get(address + path).status_code == 200


def test_every_route_is_private_or_known_to_be_open(address: str) -> None:
    described = httpx.get(f"{address}/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in described.items() for method in methods}
    known = {(method, path.replace("alpaca", "{x}").rstrip("/")) for method, path in PRIVATE}
    known |= {("GET", "/health"), ("GET", "/tgi/{x}/health")}
    known |= {("POST", f"/v1/models/{{x}}/{verb}") for verb in ("sleep", "unload")}
    assert {(method, path.replace("{name}", "{x}").replace("{model}", "{x}")) for method, path in routes} == known


def test_a_guest_may_use_and_not_manage(address: str, scripted: ScriptedService) -> None:
    with httpx.Client(base_url=address, headers=bearer(GUEST)) as guest:
        assert guest.post("/v1/chat/completions", json=CHAT).status_code == 200
        for verb in ("load", "sleep", "unload"):
            answer = guest.post(f"/v1/models/alpaca/{verb}")
            assert answer.status_code == 403
            assert answer.json()["error"]["type"] == "permission_error"
    assert scripted.residency == {}


def test_a_key_that_is_revoked_while_the_server_runs(scripted: ScriptedService, settings: Settings) -> None:
    path, token = keys.path(settings), keys.grant(settings, "space")
    with serving(scripted, KeyFile(path)) as address, httpx.Client(base_url=address, headers=bearer(token)) as client:
        assert client.get("/v1/models").status_code == 200
        keys.revoke(settings, [token])
        assert client.get("/v1/models").status_code == 401
        path.chmod(0o644)
        broken = client.get("/v1/models")
        assert broken.status_code == 503
        assert broken.json()["error"]["code"] == "keys_unreadable"


def test_for_whom_a_caller_asks(address: str, scripted: ScriptedService) -> None:
    for token, person in ((TOKEN, "ann"), (TOKEN, ""), (GUEST, "ann"), (TOKEN, "x" * 500)):
        httpx.post(f"{address}/v1/chat/completions", json=CHAT, headers={**bearer(token), "X-Client": person})
    clients = [request.client for request in scripted.requests]
    assert clients == ["owner/ann", "owner", "guest", "owner/" + "x" * 100]


def test_a_page_of_another_site_gets_no_leave(address: str) -> None:
    """No CORS header: a browser asks first, and is not told that it may."""
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{address}/v1/chat/completions", headers=asked)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


# Models


def test_models_are_loaded_put_to_sleep_and_let_go(http: httpx.Client) -> None:
    said = [http.post(f"/v1/models/alpaca/{verb}").json()["residency"] for verb in ("load", "sleep", "unload")]
    assert said == ["resident", "asleep", "absent"]
    assert http.post("/v1/models/nobody/load").status_code == 404


def test_tokens_of_a_text(http: httpx.Client) -> None:
    answer = http.post("/tokenize", json={"model": "alpaca", "prompt": "Hi"})
    assert answer.json() == {"count": 2, "max_model_len": 512, "tokens": [72, 105]}


def test_what_is_not_there(http: httpx.Client) -> None:
    nowhere, wrong = http.get("/v1/nothing"), http.get("/v1/chat/completions")
    assert (nowhere.status_code, wrong.status_code) == (404, 405)
    assert nowhere.json()["error"]["message"] == "There is no /v1/nothing here."
    assert wrong.json()["error"]["message"] == "/v1/chat/completions does not take GET."
    assert set(http.get("/tgi/alpaca/nothing").json()) == {"error", "error_type"}


# Metrics


def test_metrics_count_what_went_by(http: httpx.Client, scripted: ScriptedService) -> None:
    http.post("/v1/chat/completions", json=CHAT)
    http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    http.post("/tgi/alpaca", json={"inputs": "Hi"})
    scripted.script = lambda _: [GenerationFailed("No.")]
    http.post("/v1/chat/completions", json=CHAT)
    scripted.script = lambda _: [*saying("One")[:-1], GenerationFailed("No.")]
    http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    http.post("/v1/models/alpaca/load")
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert values["core_requests_total", "alpaca", "eos", "openai"] == 2
    assert values["core_requests_total", "alpaca", "eos", "tgi"] == 1
    assert values["core_requests_total", "alpaca", "generation_failed", "openai"] == 2
    assert values["core_generated_tokens_total", "alpaca", "openai"] == 7
    assert values["core_prompt_tokens_total", "alpaca", "openai"] == 21
    assert values["core_reused_tokens_total", "alpaca", "tgi"] == 3
    assert values["core_queue_seconds_count", "alpaca", "openai"] == 2
    assert values["core_first_token_seconds_count", "alpaca", "openai"] == 3
    assert values["core_tokens_per_second_sum", "alpaca", "tgi"] == 4
    assert values["core_resident", "alpaca"] == 1
    assert values["core_weight_bytes", "alpaca"] == 1000
    assert values["core_kv_tokens", "llava"] == 0


# Where it listens


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_is_listened_on(host: str) -> None:
    with bind(host, 0) as listener:
        assert url(listener).startswith("http://127.0.0.")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "8.8.8.8", "::ffff:8.8.8.8"])
def test_nothing_else_is(host: str) -> None:
    with pytest.raises(UnsafeAddress, match="listens on this machine alone"):
        bind(host, 0)


def test_a_port_that_is_taken_is_an_error() -> None:
    with bind("127.0.0.1", 0) as first, pytest.raises(OSError, match="Address already in use"):
        bind("127.0.0.1", first.getsockname()[1])


@pytest.fixture
def socket_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="core-") as room:  # short: such a path has at most 107 bytes
        yield Path(room) / "core.sock"


def test_a_socket_file_is_its_owners_and_answers(scripted: ScriptedService, socket_path: Path) -> None:
    listener, up = bind_file(socket_path), threading.Event()
    assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
    assert url(listener) == f"unix:{socket_path}"
    server = Server(create_app(scripted, KEYS), on_started=up.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert up.wait(10)
        transport = httpx.HTTPTransport(uds=str(socket_path))
        with httpx.Client(transport=transport, base_url="http://core", headers=bearer(TOKEN)) as client:
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
            streamed = client.post("/v1/chat/completions", json={**CHAT, "stream": True})
            assert streamed.text.endswith("data: [DONE]\n\n")
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
    assert not thread.is_alive()


def test_a_socket_file_that_is_in_use_stays(socket_path: Path) -> None:
    with bind_file(socket_path), pytest.raises(OSError, match="Address already in use"):
        bind_file(socket_path)


def test_a_socket_file_that_was_left_behind_gives_way(socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    with bind_file(socket_path) as ours, socket.socket(socket.AF_UNIX) as caller:
        ours.listen()
        caller.connect(str(socket_path))
        accepted, _ = ours.accept()
        with accepted:
            caller.sendall(b"hello")
            assert accepted.recv(5) == b"hello"


def test_a_plain_file_does_not(socket_path: Path) -> None:
    socket_path.write_text("mine")
    with pytest.raises(OSError, match="Address already in use"):
        bind_file(socket_path)
    assert socket_path.read_text() == "mine"


# What it says of itself


def test_the_api_is_described(http: httpx.Client) -> None:
    said = http.get("/openapi.json").json()
    bodies = said["components"]["schemas"]
    assert {"ChatRequest", "CompletionRequest", "TgiRequest", "CompatRequest", "TokenizeRequest"} <= set(bodies)
    assert {"adapter_id", "max_new_tokens", "truncate"} <= set(bodies["Parameters"]["properties"])
    text = str(said)
    references = {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= set(bodies)
    assert "HTTPBearer" in said["components"]["securitySchemes"]
