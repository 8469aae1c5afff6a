"""Bodies that mean nothing: each an error of the caller's, in a plain sentence, and the server goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.inference.server import Bounds
from tests.support.inference_server import TOKEN, ScriptedService, bearer, serving

CHAT = {"model": "alpaca", "messages": [{"role": "user", "content": "Hi"}]}
TEXT = {"model": "alpaca", "prompt": "Hi"}
TGI: dict[str, Any] = {"inputs": "Hi", "parameters": {}}
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": TEXT,
    "/tokenize": TEXT,
    "/tgi/alpaca": TGI,
    "/tgi/alpaca/generate": TGI,
    "/tgi/alpaca/generate_stream": TGI,
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        serving(ScriptedService(), bounds=Bounds(body_bytes=100_000)) as address,
        httpx.Client(base_url=address, headers=bearer(TOKEN), timeout=20) as one,
    ):
        yield one
        assert one.post("/v1/chat/completions", json=CHAT).status_code == 200  # after all of it


def said(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    return error if isinstance(error, str) else str(error["message"])


RAW = [
    (b"", 400, "is not valid JSON"),
    (b"{", 400, "is not valid JSON"),
    (b"\xff\xfe", 400, "is not valid JSON"),
    (b'{"a": "\\ud800"}', 400, "is not valid JSON"),
    (b"[" * 90_000, 400, "recursion limit"),
    (b'{"a":' * 10_000, 400, "recursion limit"),
    (b'{"seed": ' + b"9" * 90_000 + b"}", 400, "number out of range"),
    (b"[]", 400, "must be a JSON object"),
    (b'"text"', 400, "must be a JSON object"),
    (b"null", 400, "must be a JSON object"),
    (b"NaN", 400, ""),
    (b"{}", 422, "is missing"),
    (b" " * 100_001, 413, "at most 100000 bytes"),
    (b'{"a": "' + b"x" * 100_000 + b'"}', 413, "at most 100000 bytes"),
]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(("body", "status", "says"), RAW, ids=range(len(RAW)))
def test_bodies_that_are_none(client: httpx.Client, path: str, body: bytes, status: int, says: str) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == status
    assert says in said(answer)


def test_a_body_that_does_not_say_how_long_it_is(client: httpx.Client) -> None:
    """In chunks, without a Content-Length: what is too much is noticed while it comes."""
    answer = client.post("/v1/chat/completions", content=(b"x" * 10_000 for _ in range(100)))
    assert answer.status_code == 413


OPENAI = [
    ({"model": 5}, "model must be a text"),
    ({"model": ""}, "model must have at least 1 characters"),
    ({"model": "x" * 500}, "model must have at most 200 characters"),
    ({"temperature": "hot"}, "temperature must be a number"),
    ({"temperature": float("nan")}, "temperature must be a finite number"),
    ({"temperature": float("inf")}, "temperature must be a finite number"),
    ({"temperature": True}, "temperature must be a number"),
    ({"temperature": 1e300}, "it must be at least 0 and at most 100"),
    ({"top_p": 0}, "it must be more than 0 and at most 1"),
    ({"top_p": -0.0}, "it must be more than 0 and at most 1"),
    ({"top_k": -2}, "top_k is -2; it must be at least 0"),
    ({"top_k": 10**30}, "top_k must be less than 2147483648"),
    ({"max_tokens": 0}, "max_tokens is 0; it must be at least 1"),
    ({"max_tokens": 1.5}, "max_tokens must be a whole number"),
    ({"max_tokens": 10**400}, "max_tokens must be less than 2147483648"),
    ({"max_tokens": "many"}, "max_tokens must be a whole number"),
    ({"seed": 2**63}, "seed is 9223372036854775808; it must be at least 0 and at most"),
    ({"seed": -1}, "seed is -1"),
    ({"repetition_penalty": 0}, "repetition_penalty is 0.0; it must be more than 0"),
    ({"stop": 5}, "stop must be a text or a list"),
    ({"stop": [1]}, "stop[0] must be a text"),
    ({"stop": ""}, "1 to 256 characters"),
    ({"stop": ["a"] * 17}, "stop has 17 strings; at most 16"),
    ({"stop": "a" * 257}, "1 to 256 characters"),
    ({"stream": "yes"}, "stream must be true or false"),
    ({"stream_options": {"include_usage": True}}, "stream must be true"),
    ({"stream_options": 5, "stream": True}, "stream_options must be an object"),
    ({"n": 0}, "n is not supported here"),
    ({"n": True}, "n is not supported here"),
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(("changes", "says"), OPENAI)
def test_openai_fields_that_mean_nothing(client: httpx.Client, path: str, changes: dict[str, Any], says: str) -> None:
    answer = client.post(path, content=json.dumps({**ROUTES[path], **changes}))
    assert answer.status_code == 422
    assert says in said(answer)
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["param"].partition("[")[0] in changes


MESSAGES: list[tuple[Any, str]] = [
    ([], "messages must have at least 1 entries"),
    ("Hi", "messages must be a list"),
    ([5], "messages[0] must be an object"),
    ([{}], "messages[0].role is missing"),
    ([{"role": "user"}], "messages[0].content is missing"),
    ([{"role": "user", "content": None}], "messages[0].content is missing"),
    ([{"role": "tool", "content": "x"}], "messages[0].role must be 'system', 'developer', 'user' or 'assistant'"),
    ([{"role": ["user"], "content": "x"}], "messages[0].role must be"),
    ([{"role": "user", "content": {"text": "x"}}], "messages[0].content must be a text or a list"),
    ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text is missing"),
    ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0].image_url is missing"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "image_url must be an object"),
    ([{"role": "user", "content": [{"type": "input_audio"}]}], "type must be 'text' or 'image_url'"),
    ([{"role": "assistant", "content": "x"}], "begins with a message of the user|ends with a message of the user"),
    ([{"role": "system", "content": "x"}], "ends with a message of the user"),
    ([{"role": "user", "content": "x"}] * 1001, "at most 1000 entries"),
]


@pytest.mark.parametrize(("messages", "says"), MESSAGES)
def test_messages_that_are_none(client: httpx.Client, messages: object, says: str) -> None:
    answer = client.post("/v1/chat/completions", json={"model": "alpaca", "messages": messages})
    assert answer.status_code == 422
    assert any(one in said(answer) for one in says.split("|"))
    assert answer.json()["error"]["param"].startswith("messages")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"inputs": 5}, "inputs must be a text"),
        ({"inputs": ""}, "inputs must have at least 1 characters"),
        ({"inputs": ["a"]}, "inputs must be a text"),
        ({"inputs": "a", "parameters": []}, "parameters must be an object"),
        ({"inputs": "a", "parameters": {"stop": 5}}, "parameters.stop must be a list"),
        ({"inputs": "a", "parameters": {"temperature": float("nan")}}, "must be a finite number"),
        ({"inputs": "a", "parameters": {"top_k": 10**30}}, "parameters.top_k must be less than"),
        ({"inputs": "a", "parameters": {"adapter_id": 5}}, "parameters.adapter_id must be a text"),
    ],
)
def test_tgi_fields_that_mean_nothing(client: httpx.Client, body: dict[str, Any], says: str) -> None:
    for path in ("/tgi/alpaca", "/tgi/alpaca/generate", "/tgi/alpaca/generate_stream"):
        answer = client.post(path, content=json.dumps(body))
        assert answer.status_code == 422
        assert says in said(answer)
        assert answer.json()["error_type"] == "validation"


NAMES = ["%2e%2e%2f", "%00", "a%2Fb", "%F0%9F%A6%99", "x" * 3000, "%FF", "alpaca%20"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_in_addresses(client: httpx.Client, name: str) -> None:
    for path in (f"/v1/models/{name}", f"/tgi/{name}/info", f"/tgi/{name}/health"):
        answer = client.get(path)
        assert answer.status_code in (400, 404, 414)
    assert client.post(f"/tgi/{name}", json={"inputs": "a"}).status_code in (400, 404, 405, 414)


# Anything at all

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["alpaca", "user", "text", "image_url", "<image>", "\u2028", "data:image/png;base64,AAAA"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [*CHAT, *TEXT, *TGI, "stream", "stream_options", "max_tokens", "temperature", "top_p", "top_k", "seed"]
FIELDS += ["stop", "n", "tools", "logit_bias", "ignore_eos", "user", "response_format", "repetition_penalty"]
WISHES = ["stop", "seed", "top_p", "top_k", "temperature", "truncate", "details", "adapter_id", "best_of", "grammar"]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(sorted(ROUTES)),
    changes=st.dictionaries(st.sampled_from(FIELDS), ANY, max_size=4),
    wishes=st.dictionaries(st.sampled_from(WISHES), ANY, max_size=3),
)
def test_nothing_that_is_sent_is_an_error_of_ours(
    client: httpx.Client, path: str, changes: dict[str, Any], wishes: dict[str, Any]
) -> None:
    body = {**ROUTES[path], **changes}
    if isinstance(body.get("parameters"), dict):
        body["parameters"] = {**body["parameters"], **wishes}
    answer = client.post(path, content=json.dumps(body).encode("utf-8", "surrogatepass"))
    assert answer.status_code < 500, (path, body, answer.text)
    if answer.status_code != 200:
        assert said(answer).endswith(".") or "?" in said(answer)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(sorted(ROUTES)), body=st.binary(max_size=200))
def test_no_bytes_are_an_error_of_ours(client: httpx.Client, path: str, body: bytes) -> None:
    assert 400 <= client.post(path, content=body).status_code < 500
