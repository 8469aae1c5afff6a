"""Engines elsewhere: answers built from the schemas of vLLM and TGI, and answers that are none.

No vLLM and no TGI was run here. What they send is written down after their sources, which each answer names.
"""

from __future__ import annotations

import asyncio

import pytest

from app.inference.errors import BadRequest, InferenceError, NotSupported, Overloaded, RemoteFailed
from app.inference.remote import RemoteModel
from app.inference.types import (
    Delta,
    Endpoint,
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    Message,
    Prompt,
    Role,
    SamplingParams,
)
from tests.support.inference_remote import PNG, PROTOCOLS, Canned, ask, listening, text
from tests.support.inference_server import card


def ok(body: str, kind: str = "text/event-stream") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n{body}".encode()


def against(canned: Canned, protocol: str, request: GenerateRequest | None = None) -> list[Event]:
    async def all_of_it() -> list[Event]:
        async with asyncio.timeout(20), listening(canned) as url:
            endpoint = Endpoint(url=url, protocol=protocol, model="their-name")
            remote = RemoteModel(card("far", remote=endpoint, defaults=SamplingParams(stop=("###",))))
            return [event async for event in remote.generate(request or ask())]

    return asyncio.run(all_of_it())


# vllm/entrypoints/openai/protocol.py (CompletionStreamResponse, UsageInfo), serving_completion.py.
VLLM_COMPLETION = """data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"their-name","choices":[{"index":0,"text":" Paris","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null}

data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"their-name","choices":[{"index":0,"text":".","logprobs":null,"finish_reason":"stop","stop_reason":"###"}],"usage":null}

data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"their-name","choices":[],"usage":{"prompt_tokens":6,"total_tokens":9,"completion_tokens":3,"prompt_tokens_details":null}}

data: [DONE]

"""  # noqa: E501  # as it is sent

# The same file: ChatCompletionStreamResponse.
VLLM_CHAT = """data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"their-name","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"their-name","choices":[{"index":0,"delta":{"content":"A cat"},"logprobs":null,"finish_reason":null}]}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"their-name","choices":[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"length","stop_reason":null}]}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"their-name","choices":[],"usage":{"prompt_tokens":590,"total_tokens":592,"completion_tokens":2}}

data: [DONE]

"""  # noqa: E501  # as it is sent

# text-generation-inference 3.3, docs/openapi.json: StreamResponse, StreamDetails.
TGI_STREAM = """data:{"index":1,"token":{"id":3681,"text":" Paris","logprob":-0.12,"special":false},"generated_text":null,"details":null}

:

data:{"index":2,"token":{"id":2,"text":"</s>","logprob":-0.5,"special":true},"generated_text":" Paris","details":{"finish_reason":"eos_token","generated_tokens":2,"seed":4,"input_length":6}}

"""  # noqa: E501  # as it is sent


def test_what_vllm_streams() -> None:
    canned = Canned(ok(VLLM_COMPLETION))
    events = against(canned, "openai")
    assert text(events) == " Paris."
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.stop) == (FinishReason.STOP, "###")
    assert (last.usage.prompt_tokens, last.usage.generated_tokens) == (6, 3)
    assert canned.heads[0].startswith("POST /v1/completions HTTP/1.1")
    assert canned.bodies[0] == {
        "model": "their-name",
        "prompt": "Hi",
        "max_tokens": 20,
        "temperature": 0.5,
        "top_p": 1.0,
        "seed": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
        "stop": ["###"],
    }


def test_what_vllm_streams_of_a_picture() -> None:
    canned = Canned(ok(VLLM_CHAT))
    shown = (
        Message(role=Role.SYSTEM, text="Be brief."),
        Message(role=Role.USER, text="What is this?", images=(PNG,)),
    )
    events = against(canned, "openai", ask(Prompt(text="<image>?", images=(PNG,), messages=shown)))
    assert text(events) == "A cat"
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.reason is FinishReason.LENGTH
    assert canned.heads[0].startswith("POST /v1/chat/completions HTTP/1.1")
    system, user = canned.bodies[0]["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert user["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_what_tgi_streams() -> None:
    canned = Canned(ok(TGI_STREAM))
    events = against(canned, "tgi")
    assert text(events) == " Paris"
    assert [one.id for event in events if isinstance(event, Delta) for one in event.tokens] == [3681, 2]
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.usage.prompt_tokens, last.usage.generated_tokens) == (6, 2)
    assert canned.heads[0].startswith("POST /generate_stream HTTP/1.1")
    assert canned.bodies[0] == {
        "inputs": "Hi",
        "parameters": {
            "details": True,
            "do_sample": True,
            "max_new_tokens": 20,
            "seed": 4,
            "stop": ["###"],
            "temperature": 0.5,
        },
    }


def test_what_tgi_has_no_field_for_is_refused_before_it_is_asked() -> None:
    canned = Canned(ok(TGI_STREAM))
    with pytest.raises(NotSupported, match="ignore_eos"):
        against(canned, "tgi", ask(ignore_eos=True))
    assert canned.heads == []


def test_tgi_says_a_stop_string_and_we_do_not() -> None:
    """There it is part of the text (router/src/infer), and the same event holds the counts."""
    stopped = TGI_STREAM.replace('"</s>","logprob":-0.5,"special":true', '"###","logprob":-0.5,"special":false')
    events = against(Canned(ok(stopped.replace("eos_token", "stop_sequence"))), "tgi")
    assert text(events) == " Paris"
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.stop, last.usage.prompt_tokens) == (FinishReason.STOP, "###", 6)


def status(line: str, body: str = "", header: str = "") -> bytes:
    return f"HTTP/1.1 {line}\r\n{header}Connection: close\r\n\r\n{body}".encode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (status("500 Oops"), RemoteFailed, "answered 500"),
        (status("502 Bad Gateway", "<html>nginx</html>"), RemoteFailed, "answered 502"),
        (status("503 Busy", '{"detail":"starting"}'), RemoteFailed, "answered 503: starting"),
        (status("404 No", '{"message":"no such model"}'), RemoteFailed, "no such model"),
        (status("401 No"), RemoteFailed, "does not let us in"),
        (status("400 Bad", '{"object":"error","message":"too long"}'), BadRequest, "too long"),
        (status("429 Full", '{"error":"Model is overloaded","error_type":"overloaded"}'), Overloaded, "overloaded"),
        (status("429 Full", "[]", "Retry-After: 9\r\n"), Overloaded, "Try again in 9 s|is full"),
        (ok(""), RemoteFailed, "broke off"),
        (ok("data: {\n\n"), RemoteFailed, "is not understood"),
        (ok('data: {"choices": 5, "token": 5}\n\n'), RemoteFailed, "is not understood"),
        (ok("data: [DONE]\n\n"), RemoteFailed, "is not understood"),
        (ok('data: {"error": {"message": "out of memory"}}\n\n'), RemoteFailed, "out of memory"),
        (ok('data:{"error":"Request failed","error_type":"generation"}\n\n'), RemoteFailed, "Request failed"),
        (ok("<html>a proxy's page</html>", "text/html"), RemoteFailed, "broke off"),
        (b"no HTTP at all\r\n\r\n", RemoteFailed, "did not answer"),
        (b"", RemoteFailed, "did not answer"),
        (ok("data: \xff\n\n").replace("ÿ".encode(), b"\xff"), RemoteFailed, "is not understood"),
        (ok("data: " + "[" * 9_000_000), RemoteFailed, "is not understood"),
    ],
)
def test_what_is_no_answer(protocol: str, answer: bytes, kind: type[InferenceError], says: str) -> None:
    with pytest.raises(kind, match=says):
        against(Canned(answer), protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_that_is_cut_off(protocol: str) -> None:
    whole = VLLM_COMPLETION if protocol == "openai" else TGI_STREAM
    with pytest.raises(RemoteFailed, match="broke off"):
        against(Canned(ok(whole[: whole.rindex("data:")])), protocol)
