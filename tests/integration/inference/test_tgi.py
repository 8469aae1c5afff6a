"""The protocol of text-generation-inference: its framing to the byte, its bodies, and the Hub's own client."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import GenerationError, OverloadedError, ValidationError

from app.inference.errors import InferenceError, Interrupted, OutOfMemory, Overloaded, PromptTooLong, WeightsMissing
from app.inference.server import streams
from app.inference.types import Delta, Endpoint, FinishReason, Loading, Queued, Residency
from tests.support.inference_server import (
    CARDS,
    TOKEN,
    ScriptedService,
    Step,
    card,
    finished,
    lines,
    loading,
    saying,
    token,
)

# What text-generation 0.7.0 sends: every field, nulls included (text_generation/client.py, Client.generate).
EVERY_FIELD: dict[str, Any] = {
    "do_sample": False,
    "max_new_tokens": 20,
    "repetition_penalty": None,
    "frequency_penalty": None,
    "return_full_text": False,
    "stop": [],
    "seed": None,
    "temperature": None,
    "top_k": None,
    "top_p": None,
    "truncate": None,
    "typical_p": None,
    "best_of": None,
    "watermark": False,
    "details": True,
    "decoder_input_details": False,
    "top_n_tokens": None,
    "grammar": None,
}
PICTURE = "data:image/png;base64," + base64.b64encode(b"a picture").decode()


def post(http: httpx.Client, path: str = "/tgi/guanaco", **parameters: Any) -> httpx.Response:
    return http.post(path, json={"inputs": "Hi", "parameters": parameters})


# Framing


def test_a_whole_answer_is_a_list_of_one(http: httpx.Client, scripted: ScriptedService) -> None:
    answer = http.post("/tgi/guanaco/", json={"inputs": "Hi", "stream": False, "parameters": EVERY_FIELD})
    assert answer.json() == [
        {
            "generated_text": "Hello there!",
            "details": {
                "finish_reason": "eos_token",
                "generated_tokens": 3,
                "seed": 5,
                "prefill": [],
                "tokens": [
                    {"id": 10, "text": "Hello", "logprob": -0.5, "special": False},
                    {"id": 11, "text": " there", "logprob": -0.5, "special": False},
                    {"id": 12, "text": "!", "logprob": -0.5, "special": False},
                ],
            },
        }
    ]
    request = scripted.requests[0]
    assert request.prompt.text == "Hi"
    assert (request.sampling.max_tokens, request.sampling.temperature) == (20, 0)
    assert http.post("/tgi/guanaco", json={"inputs": "Hi"}).json() == [{"generated_text": "Hello there!"}]


def test_generate_answers_with_the_object_alone(http: httpx.Client) -> None:
    assert post(http, "/tgi/guanaco/generate").json() == {"generated_text": "Hello there!"}


@pytest.mark.parametrize("path", ["/tgi/guanaco", "/tgi/guanaco/", "/tgi/guanaco/generate_stream"])
def test_the_framing_of_a_stream(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={"inputs": "Hi", "stream": True, "parameters": EVERY_FIELD})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text == (
        ': {"stage": "queued", "position": 0}\n\n'
        'data:{"index":1,"token":{"id":10,"text":"Hello","logprob":-0.5,"special":false},'
        '"generated_text":null,"details":null}\n\n'
        'data:{"index":2,"token":{"id":11,"text":" there","logprob":-0.5,"special":false},'
        '"generated_text":null,"details":null}\n\n'
        'data:{"index":3,"token":{"id":12,"text":"!","logprob":-0.5,"special":false},'
        '"generated_text":null,"details":null}\n\n'
        'data:{"index":3,"token":{"id":12,"text":"","logprob":-0.5,"special":true},'
        '"generated_text":"Hello there!",'
        '"details":{"finish_reason":"eos_token","generated_tokens":3,"seed":5,"input_length":7}}\n\n'
    )


def test_a_stream_tells_its_place_in_the_queue_where_no_client_trips(
    http: httpx.Client, hub_client: InferenceClient, scripted: ScriptedService
) -> None:
    waiting: list[Step] = [Loading(model="guanaco", what="two\nlines", fraction=0.5, position=3), Queued(position=1)]
    scripted.script = lambda _: [*waiting, *saying("One", "Two")]
    told = http.post("/tgi/guanaco", json={"inputs": "Hi", "stream": True}).text.split("\n\n")
    assert told[:2] == [
        ': {"stage": "loading", "what": "two\\nlines", "fraction": 0.5, "position": 3}',
        ': {"stage": "queued", "position": 1}',
    ]
    assert "".join(hub_client.text_generation("Hi", stream=True)) == "OneTwo"


def events(http: httpx.Client, **parameters: object) -> list[dict[str, Any]]:
    body = {"inputs": "Hi", "parameters": parameters}
    with http.stream("POST", "/tgi/guanaco/generate_stream", json=body) as response:
        return [json.loads(line) for line in lines(response)]


def shown(told: list[dict[str, Any]]) -> str:
    """What a client that passes over special tokens has shown."""
    return "".join(event["token"]["text"] for event in told if not event["token"]["special"])


def test_the_token_of_the_end_is_the_last_event(http: httpx.Client, scripted: ScriptedService) -> None:
    eos = Delta(text="", tokens=(token("", 2, special=True),))
    scripted.script = lambda _: [*saying("One", "Two")[:-1], eos, finished(3)]
    told = events(http)
    assert [(event["index"], event["token"]["id"]) for event in told] == [(1, 10), (2, 11), (3, 2)]
    assert told[-1]["token"]["special"] is True
    assert told[-1]["generated_text"] == shown(told) == "OneTwo"


def test_the_token_that_fills_the_answer_is_the_last_event(http: httpx.Client, scripted: ScriptedService) -> None:
    scripted.script = lambda _: [*saying("One", "Two")[:-1], finished(2, FinishReason.LENGTH)]
    told = events(http, max_new_tokens=2)
    assert [event["token"]["text"] for event in told] == ["One", "Two"]
    assert told[-1]["generated_text"] == "OneTwo"
    assert told[-1]["details"]["finish_reason"] == "length"


def test_the_token_that_fills_the_context_is_the_last_event(http: httpx.Client, scripted: ScriptedService) -> None:
    said = saying("One", "Two", prompt_tokens=510)
    scripted.script = lambda _: [*said[:-1], finished(2, FinishReason.LENGTH)]
    assert [event["token"]["text"] for event in events(http, max_new_tokens=99)] == ["One", "Two"]
    scripted.cache = {"guanaco": 384}
    said = saying("One", "Two", prompt_tokens=382)
    assert [event["token"]["text"] for event in events(http, max_new_tokens=99)] == ["One", "Two"], "or the cache"


def test_a_stop_string_is_never_told(http: httpx.Client, scripted: ScriptedService) -> None:
    held = [
        Delta(text="Yes", tokens=(token("Yes", 1),)),
        Delta(text="", tokens=(token("\n#", 2),)),
        Delta(text="\n#1.", tokens=(token("1.", 3),)),
        Delta(text="", tokens=(token("\n##", 4),)),
        Delta(text="", tokens=(token("#", 5),)),
    ]
    scripted.script = lambda _: [*saying()[:2], *held, finished(5, FinishReason.STOP)]
    told = events(http, stop=["\n###"])
    assert [event["token"]["text"] for event in told] == ["Yes", "\n#", "1.", ""]
    assert told[-1]["generated_text"] == shown(told) == "Yes\n#1."
    assert told[-1]["details"]["finish_reason"] == "stop_sequence"
    assert told[-1]["details"]["generated_tokens"] == 5


def test_tokens_together_are_the_text_also_where_a_stop_string_was_cut_off(
    http: httpx.Client, scripted: ScriptedService
) -> None:
    """As in TGI, where both have the stop string; here neither has."""
    held = [
        Delta(text="Yes.", tokens=(token("Yes", 1), token(".", 2))),
        Delta(text="", tokens=(token(" \n", 3), token("##", 4))),
        Delta(text=" ", tokens=(token("#", 5), token("</s>", 6, special=True))),
    ]
    scripted.script = lambda _: [*saying()[:2], *held, finished(6, FinishReason.STOP)]
    answer = post(http, "/tgi/guanaco/generate", details=True, stop=["\n###"]).json()
    tokens = answer["details"]["tokens"]
    assert [one["text"] for one in tokens] == ["Yes", ".", " ", "", "", "</s>"]
    assert answer["generated_text"] == "".join(one["text"] for one in tokens if not one["special"]) == "Yes. "
    assert answer["details"]["generated_tokens"] == len(tokens)


def test_half_a_character_has_no_event(http: httpx.Client, scripted: ScriptedService) -> None:
    """Spaces end a stream at an empty token: the Guanaco Playground does."""
    parts = [Delta(text="", tokens=(token("", number),)) for number in (1, 2, 3)]
    whole = Delta(text="🦙", tokens=(token("🦙", 4),))
    scripted.script = lambda _: [*saying()[:2], *parts, whole, Delta(text="!", tokens=(token("!", 5),)), finished(5)]
    told = events(http)
    assert [event["token"]["text"] for event in told] == ["🦙", "!", ""]
    assert [event["index"] for event in told] == [4, 5, 5]


def test_tokens_that_come_together_have_an_event_each(http: httpx.Client, scripted: ScriptedService) -> None:
    both = Delta(text="One Two", tokens=(token("One", 1), token(" Two", 2)))
    scripted.script = lambda _: [*saying()[:2], both, finished(2)]
    assert [event["token"]["text"] for event in events(http)] == ["One", " Two", ""]


def test_an_empty_answer_is_one_event(http: httpx.Client, scripted: ScriptedService) -> None:
    scripted.script = lambda _: [*saying()[:2], Delta(text="", tokens=(token("", 2, special=True),)), finished(1)]
    told = events(http)
    assert [event["generated_text"] for event in told] == [""]
    assert told[0]["token"]["id"] == 2


def test_the_whole_text_begins_with_the_prompt_where_it_is_wished(http: httpx.Client) -> None:
    assert post(http, return_full_text=True).json() == [{"generated_text": "HiHello there!"}]
    assert events(http, return_full_text=True)[-1]["generated_text"] == "HiHello there!"


def test_headers(http: httpx.Client) -> None:
    headers = post(http, "/tgi/guanaco/generate").headers
    assert headers["x-compute-type"] == "cpu"
    assert headers["x-compute-characters"] == "2"
    assert headers["x-prompt-tokens"] == "7"
    assert headers["x-generated-tokens"] == "3"
    assert headers["x-queue-time"] == "10"
    assert headers["x-inference-time"] == "520"
    assert headers["x-time-per-token"] == "173"
    assert {"x-compute-time", "x-total-time", "x-validation-time"} <= set(headers)
    assert "x-demo-weights" not in headers


# What is asked for


@pytest.mark.parametrize(
    ("parameters", "temperature"),
    [
        ({}, 0),
        ({"do_sample": False, "temperature": 1.0}, 0),
        ({"do_sample": True}, 1.0),
        ({"do_sample": True, "temperature": 0.3}, 0.3),
        ({"temperature": 0.3}, 0.3),
        ({"top_k": 5}, 1.0),
        ({"top_p": 0.5}, 1.0),
    ],
)
def test_what_asks_for_sampling(
    http: httpx.Client, scripted: ScriptedService, parameters: dict[str, Any], temperature: float
) -> None:
    post(http, **parameters).raise_for_status()
    assert scripted.requests[0].sampling.temperature == temperature


def test_what_is_said_reaches_the_model(http: httpx.Client, scripted: ScriptedService) -> None:
    said: dict[str, Any] = {
        "max_new_tokens": 9,
        "top_p": 0.9,
        "top_k": 3,
        "repetition_penalty": 1.2,
        "seed": 42,
        "truncate": 999,
    }
    post(http, **said, do_sample=True, temperature=0.7, stop=["###"]).raise_for_status()
    request = scripted.requests[0]
    assert (request.truncate, request.client, request.model) == (999, "owner", "guanaco")
    sampling = request.sampling
    assert (sampling.max_tokens, sampling.top_p, sampling.top_k) == (9, 0.9, 3)
    assert (sampling.repetition_penalty, sampling.seed, sampling.stop) == (1.2, 42, ("###",))


def test_what_is_not_said_is_the_protocols_own(http: httpx.Client, scripted: ScriptedService) -> None:
    http.post("/tgi/guanaco", json={"inputs": "Hi"}).raise_for_status()
    sampling = scripted.requests[0].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.repetition_penalty) == (1024, 0, 1)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("best_of", 2, "best_of is not supported here"),
        ("grammar", {"type": "json", "value": "{}"}, "grammar is not supported here"),
        ("top_n_tokens", 3, "top_n_tokens is not supported here"),
        ("watermark", True, "watermark is not supported here"),
        ("typical_p", 0.9, "typical_p is not supported here"),
        ("frequency_penalty", 0.5, "frequency_penalty is not supported here"),
        ("decoder_input_details", True, "decoder_input_details is not supported here"),
        ("temperature", 0, "temperature must be strictly positive"),
        ("top_p", 1.0, "top_p must be more than 0 and less than 1"),
        ("top_k", 0, "top_k must be strictly positive"),
        ("truncate", 0, "truncate must be strictly positive"),
        ("repetition_penalty", 0, "repetition_penalty is 0.0; it must be more than 0"),
        ("max_new_tokens", 0, "max_new_tokens must be strictly positive"),
        ("max_new_tokens", "9", "parameters.max_new_tokens must be a whole number"),
        ("seed", -1, "seed is -1; it must be at least 0"),
        ("stop", "###", "parameters.stop must be a list"),
        ("stop", [""], "1 to 256 characters"),
        ("stop", ["x"] * 17, "at most 16"),
    ],
)
def test_what_is_refused(http: httpx.Client, scripted: ScriptedService, name: str, value: object, says: str) -> None:
    for path in ("/tgi/guanaco", "/tgi/guanaco/generate", "/tgi/guanaco/generate_stream"):
        answer = post(http, path, **{name: value})
        assert answer.status_code == 422
        assert says in answer.json()["error"]
        assert answer.json()["error_type"] == "validation"
    assert scripted.requests == []


def test_an_adapter_is_another_model_over_the_same_base(http: httpx.Client, scripted: ScriptedService) -> None:
    post(http, adapter_id="alpaca").raise_for_status()
    assert scripted.requests[0].model == "alpaca"
    for unknown in ("storyteller", "nobody"):
        answer = post(http, adapter_id=unknown)
        assert answer.status_code == 404
        assert "There are: alpaca, guanaco." in answer.json()["error"]


def test_a_model_elsewhere_is_no_adapter_of_another(http: httpx.Client, scripted: ScriptedService) -> None:
    """No weights of theirs are here: what they have in common says nothing."""
    endpoint = Endpoint(url="http://127.0.0.1:9", protocol="tgi", model="m")
    scripted.offered = (card("far", weights="", remote=endpoint), card("far2", weights="", remote=endpoint), *CARDS)
    for path, adapter in (("/tgi/far", "far2"), ("/tgi/far", "alpaca"), ("/tgi/alpaca", "far")):
        assert post(http, path, adapter_id=adapter).status_code == 404
    assert scripted.requests == []
    post(http, "/tgi/far", adapter_id="far").raise_for_status()
    assert scripted.requests[0].model == "far"


def test_pictures_stand_in_the_text(http: httpx.Client, scripted: ScriptedService) -> None:
    inputs = f"USER: ![]({PICTURE})\nWhat is this? ASSISTANT:"
    http.post("/tgi/llava", json={"inputs": inputs}).raise_for_status()
    prompt = scripted.requests[0].prompt
    assert prompt.text == "USER: <image>\nWhat is this? ASSISTANT:"
    assert prompt.images == (b"a picture",)


def test_a_mark_without_a_picture(http: httpx.Client) -> None:
    answer = http.post("/tgi/llava", json={"inputs": "<image> What is this?"})
    assert answer.status_code == 422
    assert "<image> stands for a picture" in answer.json()["error"]
    assert http.post("/tgi/guanaco", json={"inputs": "<image> in a text"}).status_code == 200


@pytest.mark.parametrize("path", ["/tgi/guanaco", "/tgi/guanaco/generate", "/tgi/guanaco/generate_stream"])
def test_a_picture_to_a_model_that_reads_text_alone(http: httpx.Client, scripted: ScriptedService, path: str) -> None:
    answer = http.post(path, json={"inputs": f"What is this? ![]({PICTURE})"})
    assert answer.status_code == 422
    assert "reads text alone" in answer.json()["error"]
    assert answer.json()["error_type"] == "validation"
    assert scripted.requests == []


def test_what_is_no_picture_stays_text(http: httpx.Client, scripted: ScriptedService) -> None:
    inputs = "![a llama](https://example.org/llama.png)"
    http.post("/tgi/guanaco", json={"inputs": inputs}).raise_for_status()
    assert scripted.requests[0].prompt.text == inputs


# What it says of itself


def test_info(http: httpx.Client) -> None:
    said = http.get("/tgi/storyteller/info").json()
    assert said["model_id"] == "storyteller"
    assert said["max_total_tokens"] == said["max_input_tokens"] + 1 == 512
    assert (said["max_best_of"], said["max_stop_sequences"]) == (1, 16)
    assert said["demo"] is True
    assert said["model_pipeline_tag"] == "text-generation"
    assert http.get("/tgi/llava/info").json()["model_pipeline_tag"] == "image-text-to-text"


def test_info_tells_no_more_than_the_cache_holds(http: httpx.Client, scripted: ScriptedService) -> None:
    scripted.cache = {"guanaco": 384}
    said = http.get("/tgi/guanaco/info").json()
    assert (said["max_total_tokens"], said["max_input_tokens"]) == (384, 383)


def test_health(address: str, scripted: ScriptedService) -> None:
    assert httpx.get(f"{address}/tgi/guanaco/health").content == b""
    scripted.residency["guanaco"] = Residency.FAILED
    failed = httpx.get(f"{address}/tgi/guanaco/health")
    assert failed.status_code == 503
    assert failed.json() == {"error": "unhealthy", "error_type": "healthcheck"}


def test_answers_of_demo_weights_say_so(http: httpx.Client) -> None:
    for path in ("/tgi/storyteller", "/tgi/storyteller/generate", "/tgi/storyteller/generate_stream"):
        answer = post(http, path)
        assert answer.headers["x-demo-weights"] == "true"
        bodies = [
            json.loads(line.removeprefix("data:")) for line in answer.text.splitlines() if line and line[0] != ":"
        ]
        assert all(body["demo"] is True for one in bodies for body in (one if isinstance(one, list) else [one]))
        assert "demo" not in post(http, path.replace("storyteller", "guanaco")).text


# Errors


@pytest.mark.parametrize("path", ["/tgi/guanaco/generate", "/tgi/guanaco/generate_stream"])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PromptTooLong(900, 511), (422, "validation")),
        (Overloaded("The queue is full.", retry_after=3), (429, "overloaded")),
        (OutOfMemory("No room for it."), (424, "generation")),
        (Interrupted("The core shut down."), (500, "incomplete_generation")),
        (WeightsMissing("There are none."), (503, "weights_missing")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_before_the_answer(
    http: httpx.Client, scripted: ScriptedService, path: str, error: InferenceError, told: tuple[int, str]
) -> None:
    scripted.script = lambda _: [error]
    answer = post(http, path)
    assert answer.status_code == told[0]
    assert answer.json() == {"error": error.sentence, "error_type": told[1]}
    assert answer.headers.get("retry-after") == ("3" if isinstance(error, Overloaded) else None)


def test_an_error_in_the_middle_is_an_event(http: httpx.Client, scripted: ScriptedService) -> None:
    scripted.script = lambda _: [*saying("One")[:-1], OutOfMemory("No room for it.")]
    answer = post(http, "/tgi/guanaco/generate_stream")
    assert answer.status_code == 200
    assert answer.text.endswith('data:{"error":"No room for it.","error_type":"generation"}\n\n')


def test_unknown_models_and_tokens(address: str, http: httpx.Client) -> None:
    unknown = post(http, "/tgi/nobody")
    assert unknown.status_code == 404
    assert "There are: alpaca, guanaco, storyteller, llava" in unknown.json()["error"]
    nobody = httpx.post(f"{address}/tgi/guanaco", json={"inputs": "Hi"})
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert set(nobody.json()) == {"error", "error_type"}


# huggingface_hub's client


@pytest.fixture
def hub_client(address: str) -> InferenceClient:
    return InferenceClient(model=f"{address}/tgi/guanaco", token=TOKEN, timeout=20)


def test_the_hubs_client_generates(hub_client: InferenceClient, scripted: ScriptedService) -> None:
    assert hub_client.text_generation("Hi", max_new_tokens=5) == "Hello there!"
    done = hub_client.text_generation("Hi", details=True, seed=1, do_sample=True, temperature=0.5)
    assert done.generated_text == "Hello there!"
    assert done.details is not None
    assert done.details.generated_tokens == 3
    assert [one.text for one in done.details.tokens] == ["Hello", " there", "!"]
    assert scripted.requests[-1].sampling.temperature == 0.5


def test_the_hubs_client_streams(hub_client: InferenceClient) -> None:
    assert "".join(hub_client.text_generation("Hi", stream=True)) == "Hello there!"
    told = list(hub_client.text_generation("Hi", stream=True, details=True))
    assert told[-1].generated_text == "Hello there!"
    assert told[-1].details is not None
    assert told[-1].details.finish_reason == "eos_token"


def test_the_hubs_client_names_errors(hub_client: InferenceClient, scripted: ScriptedService) -> None:
    scripted.script = lambda _: [PromptTooLong(900, 511)]
    with pytest.raises(ValidationError, match="900 tokens"):
        hub_client.text_generation("Hi")
    scripted.script = lambda _: [Overloaded("The queue is full.", retry_after=3)]
    with pytest.raises(OverloadedError, match="The queue is full"):
        hub_client.text_generation("Hi", stream=True)
    scripted.script = lambda _: [*saying()[:2], OutOfMemory("!")]
    with pytest.raises(GenerationError):
        hub_client.text_generation("Hi")


def test_the_hubs_client_chats(address: str) -> None:
    client = InferenceClient(base_url=f"{address}/v1", api_key=TOKEN, timeout=20)
    whole = client.chat_completion([{"role": "user", "content": "Hi"}], model="guanaco", max_tokens=9)
    assert whole.choices[0].message.content == "Hello there!"
    chunks = client.chat_completion([{"role": "user", "content": "Hi"}], model="guanaco", stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there!"


def test_the_hubs_client_waits_for_a_model_that_is_being_loaded(
    address: str, scripted: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than it waits for a byte: comments keep both protocols' streams alive."""
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.2)
    monkeypatch.setattr(streams, "OPENING_S", 0.2)
    scripted.script = lambda _: [*loading(2.0), *saying("Late", " but", " whole")]
    tgi = InferenceClient(model=f"{address}/tgi/guanaco", token=TOKEN, timeout=1)
    assert "".join(tgi.text_generation("Hi", stream=True)) == "Late but whole"
    chat = InferenceClient(base_url=f"{address}/v1", api_key=TOKEN, timeout=1)
    chunks = chat.chat_completion([{"role": "user", "content": "Hi"}], model="guanaco", stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Late but whole"
