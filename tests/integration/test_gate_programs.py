"""Programs at the page's link: the clients that people have, with a key, through the gate to the core."""

from __future__ import annotations

import json
import socket
import stat
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import openai
import pytest
from huggingface_hub import InferenceClient

from app.inference.types import GenerateRequest, Queued
from app.playground.core import Core, Place
from spaces_runner.core import keys
from spaces_runner.settings import Settings
from tests.support.cli import Cli
from tests.support.gate import gate
from tests.support.inference_server import TOKEN as CORE_TOKEN
from tests.support.inference_server import (
    ScriptedService,
    Step,
    bearer,
    delta,
    finished,
    lines,
    listening,
    saying,
    until,
)
from tests.support.inference_server import serving as serving_core
from tests.support.share import Share
from tests.support.web import TOKEN, serving

MODEL = "guanaco"
SLOWLY = "slowly"


def script(request: GenerateRequest) -> list[Step]:
    """An answer of three words; to a message that says so, of six hundred, a tenth of a second each."""
    if SLOWLY in request.prompt.text:
        return [Queued(position=0), *(step for _ in range(600) for step in (delta("word "), 0.1)), finished(600)]
    return saying("Hello", " there", "!")


@pytest.fixture(scope="module")
def service() -> ScriptedService:
    return ScriptedService(script=script)


@pytest.fixture(scope="module")
def door(service: ScriptedService, shared_settings: Settings) -> Iterator[str]:
    """The address of a private gate before the core that follows the script."""
    with serving_core(service) as address:
        core = Core(find=lambda: Place(url=address, token=CORE_TOKEN))
        with listening(gate(core, shared_settings), core.close) as answers_at:
            yield answers_at


@pytest.fixture
def key(shared_settings: Settings) -> Iterator[str]:
    yield keys.issue(shared_settings, "laptop")
    if "laptop" in keys.issued(shared_settings):
        keys.withdraw(shared_settings, "laptop")


def test_openais_client_chats(door: str, service: ScriptedService, key: str) -> None:
    service.requests.clear()
    with openai.OpenAI(base_url=f"{door}/v1", api_key=key, timeout=20, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [card.name for card in service.offered]
        done = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}])
        assert done.choices[0].message.content == "Hello there!"
        stream = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}], stream=True)
        told = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
        assert [word for word in told if word] == ["Hello", " there", "!"]
    assert {request.client for request in service.requests} == {"owner/program:laptop"}


def test_hugging_faces_client_chats_and_goes_on_from_text(door: str, key: str) -> None:
    chat = InferenceClient(base_url=f"{door}/v1", api_key=key, timeout=20)
    answer = chat.chat_completion([{"role": "user", "content": "Hi"}], model=MODEL, max_tokens=8)
    assert answer.choices[0].message.content == "Hello there!"
    text = InferenceClient(f"{door}/tgi/{MODEL}", token=key, timeout=20)
    assert text.text_generation("### Human: Hi", max_new_tokens=8) == "Hello there!"
    told = text.text_generation("### Human: Hi", max_new_tokens=8, stream=True)
    assert [word for word in told if word] == ["Hello", " there", "!"]


def test_a_stream_comes_as_it_is_written(door: str, service: ScriptedService, key: str) -> None:
    ask = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": SLOWLY}]}
    with (
        httpx.Client(base_url=door, headers=bearer(key), timeout=20) as client,
        client.stream("POST", "/v1/chat/completions", json=ask) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        at = []
        for data in lines(response):
            if '"content":"word ' in data.replace(": ", ":"):
                at.append(time.monotonic())
            if len(at) == 6:
                break
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert all(gap > 0.02 for gap in gaps), "they come one by one, not together"


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_frees_the_core_at_once(door: str, service: ScriptedService, key: str, stream: bool) -> None:
    before, asked = len(service.cancelled), len(service.requests)
    body = json.dumps({"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": SLOWLY}]}).encode()
    host, port = door.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        until(lambda: len(service.requests) > asked)
        if stream:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        left = time.monotonic()
    until(lambda: len(service.cancelled) > before)
    assert max(service.cancelled.values()) - left < 1


def test_a_key_opens_the_models_and_nothing_else(door: str, key: str) -> None:
    with httpx.Client(base_url=door, headers=bearer(key), timeout=10) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get(f"/tgi/{MODEL}/info").status_code == 200
        for method, path in (
            ("GET", "/metrics"),
            ("GET", "/studio/config"),
            ("GET", "/config"),
            ("POST", "/gradio_api/call/chat"),
            ("POST", "/studio/gradio_api/call/launch"),
            ("POST", f"/v1/models/{MODEL}/load"),
            ("POST", f"/v1/models/{MODEL}/unload"),
            ("GET", "/v1/../metrics"),
            ("GET", "/v1/models/../../metrics"),
            ("DELETE", f"/v1/models/{MODEL}"),
            ("POST", "/v1/models"),
        ):
            request = client.build_request(method, "/")
            request.url = request.url.copy_with(raw_path=path.encode())
            answer = client.send(request)
            assert answer.status_code == 403, (method, path)
            assert answer.json()["error"]["type"] == "permission_error"


@pytest.mark.parametrize("path", ["/v1/models", f"/tgi/{MODEL}/info", "/metrics"])
def test_without_a_key_it_is_401_in_the_protocols_own_words(door: str, path: str) -> None:
    for headers in ({}, bearer("sr-" + "x" * 43), bearer("wrong")):
        answer = httpx.get(f"{door}{path}", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        error = answer.json()["error"]
        assert "core key add" in (error if path.startswith("/tgi/") else error["message"])
    assert httpx.get(f"{door}{path}", headers=bearer(TOKEN)).status_code == 200


def test_a_key_that_was_revoked_opens_nothing_and_locks_nobody_out(
    door: str, shared_settings: Settings, key: str
) -> None:
    assert httpx.get(f"{door}/v1/models", headers=bearer(key)).status_code == 200
    keys.withdraw(shared_settings, "laptop")
    for _ in range(8):
        assert httpx.get(f"{door}/v1/models", headers=bearer(key)).status_code == 401
    assert httpx.get(f"{door}/v1/models", headers=bearer(TOKEN)).status_code == 200


def test_the_key_of_a_space_opens_nothing_here(door: str, shared_settings: Settings) -> None:
    token = keys.grant(shared_settings, "a-space")
    answer = httpx.get(f"{door}/v1/models", headers=bearer(token))
    keys.revoke(shared_settings, [token])
    assert answer.status_code == 401


def test_the_owner_manages_models_and_reads_the_metrics(door: str, service: ScriptedService) -> None:
    with httpx.Client(base_url=door, headers=bearer(TOKEN), timeout=10) as owner:
        assert owner.post(f"/v1/models/{MODEL}/load").json()["residency"] == "resident"
        metrics = owner.get("/metrics")
        assert metrics.status_code == 200 and "core_requests_total" in metrics.text
    with httpx.Client(base_url=door, timeout=10) as browser:
        assert browser.get(f"/?token={TOKEN}").status_code == 303
        assert browser.get("/metrics").status_code == 200, "with the owner's cookie, too"
        assert browser.get("/metrics", headers={"origin": "https://a.gradio.live"}).status_code == 403


def test_what_is_too_large_is_refused(door: str, service: ScriptedService, key: str) -> None:
    asked = len(service.requests)
    answer = httpx.post(f"{door}/v1/completions", headers=bearer(key), content=b"x" * (33 * 2**20), timeout=30)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    assert len(service.requests) == asked


def test_keys_are_kept_as_digests_and_managed_by_name(settings: Settings) -> None:
    cli = Cli(settings=settings)
    assert cli("core", "key", "list").stdout == ""
    made = cli("core", "key", "add", "laptop").stdout.strip()
    assert made.startswith("sr-")
    again = cli("core", "key", "add", "laptop")
    assert again.returncode == 1 and "There is a key named laptop already." in again.stderr
    assert cli("core", "key", "add", "a b").returncode == 1
    assert cli("core", "key", "list").stdout == "laptop\n"
    file = keys.path(settings)
    assert made not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert cli("core", "key", "rm", "laptop").returncode == 0
    assert cli("core", "key", "list", "--json").stdout == "[]\n"
    gone = cli("core", "key", "rm", "laptop")
    assert gone.returncode == 1 and "There is no key named 'laptop'" in gone.stderr


def test_it_is_the_same_through_the_public_link(
    service: ScriptedService, settings: Settings, share: Share, tmp_path: Path
) -> None:
    key = keys.issue(settings, "abroad")
    said = {"SPACES_RUNNER_CORE_TOKEN": CORE_TOKEN}
    with (
        serving_core(service) as address,
        serving(share.settings(settings), tmp_path, ["--share", "--core", address], said) as server,
    ):
        link = server.wait_for("Public link: ").partition(": ")[2].partition("/?")[0]
        with openai.OpenAI(base_url=f"{link}/v1", api_key=key, timeout=20, max_retries=0) as client:
            stream = client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "Hello there!"
        text = InferenceClient(f"{link}/tgi/{MODEL}", token=key, timeout=20)
        assert text.text_generation("### Human: Hi", max_new_tokens=8) == "Hello there!"
        assert httpx.get(f"{link}/v1/models").status_code == 401
        guest = httpx.Client(base_url=link)
        guest.get("/")
        assert [guest.get(path).status_code for path in ("/v1/models", f"/tgi/{MODEL}/info", "/metrics")] == [401] * 3
        guest.close()
