"""The OpenAI protocol, spoken by OpenAI's own client, over a Service that follows a script."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from app.inference.errors import GenerationFailed, Overloaded, PromptTooLong, WeightsMissing
from app.inference.server import streams
from app.inference.types import FinishReason, GenerateRequest, Loading, Queued, Role
from tests.support.inference_server import TOKEN, ScriptedService, finished, lines, loading, saying

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE = "data:image/png;base64," + base64.b64encode(PNG).decode()
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is two and two?"}]


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=TOKEN, max_retries=0, timeout=20) as one:
        yield one


def only(scripted: ScriptedService) -> GenerateRequest:
    assert len(scripted.requests) == 1
    return scripted.requests[0]


# Chat


def test_a_chat_is_answered(client: openai.OpenAI, scripted: ScriptedService) -> None:
    done = client.chat.completions.create(model="alpaca", messages=ASK)
    assert done.choices[0].message.content == "Hello there!"
    assert done.choices[0].message.role == "assistant"
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (7, 3, 10)
    assert done.usage.prompt_tokens_details is not None
    assert done.usage.prompt_tokens_details.cached_tokens == 3
    request = only(scripted)
    assert request.prompt.text.endswith("### Instruction:\nWhat is two and two?\n\n### Response:\n")
    assert request.prompt.messages[0].role is Role.USER


def test_what_is_not_said_is_the_models_own(client: openai.OpenAI, scripted: ScriptedService) -> None:
    client.chat.completions.create(model="alpaca", messages=ASK)
    sampling = only(scripted).sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p) == (64, 0.1, 0.75)
    assert sampling.stop == ()  # the card's own hold besides, wherever the request is run


def test_what_is_said_reaches_the_model(client: openai.OpenAI, scripted: ScriptedService) -> None:
    client.chat.completions.create(
        model="alpaca",
        messages=ASK,
        max_completion_tokens=9,
        temperature=0,
        top_p=0.5,
        seed=11,
        stop=["a", "b"],
        extra_body={"top_k": 4, "repetition_penalty": 1.3, "ignore_eos": True},
    )
    sampling = only(scripted).sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.seed) == (9, 0, 0.5, 11)
    assert (sampling.top_k, sampling.repetition_penalty, sampling.ignore_eos) == (4, 1.3, True)
    assert sampling.stop == ("a", "b")


def test_a_stream_is_the_same_text(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="alpaca", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello there!"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    *before, last = chunks
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 3
    assert all(chunk.usage is None for chunk in before)
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_without_usage_has_none(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="alpaca", messages=ASK, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_a_stream_tells_loading_and_its_place_in_the_queue(http: httpx.Client, scripted: ScriptedService) -> None:
    scripted.script = lambda _: [
        Loading(model="alpaca", what="weights", fraction=0.5, position=3),
        Queued(position=2),
        Queued(position=0),
        *saying("Yes")[1:],
    ]
    body = {"model": "alpaca", "messages": ASK, "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        events = list(lines(response))
    assert '"progress":{"stage":"loading","what":"weights","fraction":0.5,"position":3}' in events[0]
    assert '"progress":{"stage":"queued","position":2}' in events[1]
    assert '"progress":{"stage":"queued","position":0}' in events[2]
    assert '"progress":{"stage":"started","prompt_tokens":7,"reused_tokens":3,"seed":5}' in events[3]
    assert events[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("reason", "name"), [(FinishReason.EOS, "stop"), (FinishReason.STOP, "stop"), (FinishReason.LENGTH, "length")]
)
def test_reasons_to_finish(client: openai.OpenAI, scripted: ScriptedService, reason: FinishReason, name: str) -> None:
    scripted.script = lambda _: [*saying("One")[:-1], finished(1, reason)]
    whole = client.chat.completions.create(model="alpaca", messages=ASK)
    chunks = list(client.chat.completions.create(model="alpaca", messages=ASK, stream=True))
    assert whole.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == name


def test_an_empty_answer_is_an_answer(client: openai.OpenAI, scripted: ScriptedService) -> None:
    scripted.script = lambda _: saying()
    assert client.chat.completions.create(model="alpaca", messages=ASK).choices[0].message.content == ""
    chunks = list(client.chat.completions.create(model="alpaca", messages=ASK, stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_conversations_and_system_messages(client: openai.OpenAI, scripted: ScriptedService) -> None:
    client.chat.completions.create(
        model="guanaco",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
            {"role": "assistant", "content": "Three"},
            {"role": "user", "content": "Four"},
        ],
    )
    said = only(scripted).prompt.messages
    assert [message.role for message in said] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER]
    assert [message.text for message in said] == ["Be brief.", "One\nTwo", "Three", "Four"]


# Pictures


def seen(text: str, url: str) -> list[ChatCompletionMessageParam]:
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return [{"role": "user", "content": parts}]  # type: ignore[list-item,misc]  # dicts where TypedDicts are wanted


def test_a_picture_reaches_the_model(client: openai.OpenAI, scripted: ScriptedService) -> None:
    client.chat.completions.create(model="llava", messages=seen("What is this?", PICTURE))
    prompt = only(scripted).prompt
    assert prompt.images == (PNG,)
    assert prompt.text.count("<image>") == 1


def test_a_typed_mark_is_no_picture(client: openai.OpenAI, scripted: ScriptedService) -> None:
    client.chat.completions.create(model="llava", messages=[{"role": "user", "content": "What is <image>?"}])
    assert "<image>" not in only(scripted).prompt.text


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://169.254.169.254/latest", "Pictures are not fetched"),
        ("file:///etc/passwd", "Pictures are not fetched"),
        ("data:text/html;base64,AAAA", "must be a data: URL"),
        ("data:image/png;base64,", "is an empty picture"),
        ("data:image/png;base64,@@@@", "is not valid base64"),
        ("data:image/png;base64,AAA", "is not valid base64"),
        ("data:image/png;base64,ÄÄÄÄ", "is not valid base64"),
        ("data:image/png;base64," + "A" * (15 * 2**20), "is too large"),
    ],
)
def test_what_is_no_picture(client: openai.OpenAI, scripted: ScriptedService, url: str, says: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=says) as caught:
        client.chat.completions.create(model="llava", messages=seen("What is this?", url))
    assert caught.value.code == "bad_image"
    assert caught.value.param == "messages[0].content[0].image_url.url"
    assert scripted.requests == []


def test_too_many_pictures(client: openai.OpenAI) -> None:
    parts = [{"type": "image_url", "image_url": {"url": PICTURE}}] * 8
    with pytest.raises(openai.UnprocessableEntityError, match="8 pictures; one request has at most 7"):
        client.chat.completions.create(model="llava", messages=[{"role": "user", "content": parts}])  # type: ignore[list-item,misc]  # as above


def test_a_picture_to_a_model_that_reads(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.chat.completions.create(model="alpaca", messages=seen("What is this?", PICTURE))
    assert caught.value.code == "images_not_supported"


# Completions


def test_a_text_is_gone_on_with_as_it_is(client: openai.OpenAI, scripted: ScriptedService) -> None:
    done = client.completions.create(model="alpaca", prompt="Once upon", max_tokens=5)
    assert done.choices[0].text == "Hello there!"
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert done.usage.completion_tokens == 3
    assert only(scripted).prompt.text == "Once upon"


def test_a_stream_of_a_text(client: openai.OpenAI) -> None:
    chunks = list(client.completions.create(model="alpaca", prompt=["Once"], stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello there!"
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("prompt", "says"),
    [(["a", "b"], "One request has one prompt"), ([1, 2], "not token ids"), ([[1, 2]], "not token ids"), ([], "empty")],
)
def test_prompts_that_are_not_taken(client: openai.OpenAI, prompt: list[str], says: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=says) as caught:
        client.completions.create(model="alpaca", prompt=prompt)
    assert caught.value.param == "prompt"


# Models


def test_models_are_listed_with_what_they_take_up(client: openai.OpenAI, http: httpx.Client) -> None:
    assert [model.id for model in client.models.list()] == ["alpaca", "guanaco", "storyteller", "llava"]
    http.post("/v1/models/alpaca/load").raise_for_status()
    model = client.models.retrieve("alpaca")
    assert model.owned_by == "owner"
    extra = model.model_extra or {}
    assert (extra["residency"], extra["weight_bytes"], extra["kv_tokens"]) == ("resident", 1000, 1000)
    assert (extra["demo"], extra["context"], extra["images"]) == (False, 512, False)
    assert extra["defaults"] == {
        "max_tokens": 64,
        "temperature": 0.1,
        "top_p": 0.75,
        "top_k": 0,
        "repetition_penalty": 1.0,
    }
    assert client.models.retrieve("llava").owned_by == "local"


def test_a_model_names_its_base_and_what_is_on_it(http: httpx.Client) -> None:
    listed = http.get("/v1/models").json()["data"]
    assert {model["id"]: (model["base"], model["adapter"]) for model in listed} == {
        "alpaca": ("owner/llama", "owner/alpaca-adapter"),
        "guanaco": ("owner/llama", "owner/guanaco-adapter"),
        "storyteller": ("mosaic/storyteller", None),
        "llava": ("llava", None),
    }, "of a directory its name, not where it is"


def test_the_context_is_no_more_than_the_cache_holds(http: httpx.Client, scripted: ScriptedService) -> None:
    scripted.cache = {"alpaca": 384, "guanaco": 4096}
    listed = {model["id"]: model["context"] for model in http.get("/v1/models").json()["data"]}
    assert listed == {"alpaca": 384, "guanaco": 512, "storyteller": 512, "llava": 512}
    counted = http.post("/tokenize", json={"model": "alpaca", "prompt": "Hi"}).json()
    assert counted["max_model_len"] == 384


def test_unknown_models(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="There are: alpaca, guanaco, storyteller, llava"):
        client.models.retrieve("gpt-4")
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4", messages=ASK)
    assert (caught.value.code, caught.value.param) == ("unknown_model", "model")


def test_answers_of_demo_weights_say_so(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="storyteller", messages=ASK)
    assert raw.headers["x-demo-weights"] == "true"
    assert raw.parse().model_extra == {"demo": True, "seed": 5, "timings": raw.parse().model_extra["timings"]}  # type: ignore[index]
    chunks = list(client.chat.completions.create(model="storyteller", messages=ASK, stream=True))
    assert all((chunk.model_extra or {})["demo"] is True for chunk in chunks)
    other = client.chat.completions.with_raw_response.create(model="alpaca", messages=ASK)
    assert "x-demo-weights" not in other.headers
    assert "demo" not in (other.parse().model_extra or {})


# Errors


def test_tokens_that_open_nothing(address: str) -> None:
    with (
        openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="opens nothing here"),
    ):
        client.models.list()


@pytest.mark.parametrize("stream", [False, True])
def test_errors_before_the_answer_have_a_status(client: openai.OpenAI, scripted: ScriptedService, stream: bool) -> None:
    scripted.script = lambda _: [PromptTooLong(900, 511)]
    with pytest.raises(openai.UnprocessableEntityError, match="900 tokens; the model takes at most 511") as long:
        client.chat.completions.create(model="alpaca", messages=ASK, stream=stream)
    assert long.value.param == "messages"
    scripted.script = lambda _: [Overloaded("The queue is full.", retry_after=3)]
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="alpaca", messages=ASK, stream=stream)
    assert caught.value.response.headers["retry-after"] == "3"
    scripted.script = lambda _: [Loading(model="alpaca", what="w", fraction=0.0), 0.1, WeightsMissing("None here.")]
    with pytest.raises(openai.InternalServerError) as unavailable:
        client.chat.completions.create(model="alpaca", messages=ASK, stream=stream)
    assert unavailable.value.status_code == 503
    assert unavailable.value.code == "weights_missing"


def test_an_error_in_the_middle_ends_a_stream(client: openai.OpenAI, scripted: ScriptedService) -> None:
    scripted.script = lambda _: [*saying("One")[:-1], GenerationFailed("The device gave up.")]
    text = ""
    with pytest.raises(openai.APIError, match="The device gave up") as caught:
        for chunk in client.chat.completions.create(model="alpaca", messages=ASK, stream=True):
            text += chunk.choices[0].delta.content or ""
    assert text == "One"
    assert caught.value.code == "generation_failed"


def test_a_script_that_ends_too_early_is_an_error(client: openai.OpenAI, scripted: ScriptedService) -> None:
    scripted.script = lambda _: saying("One")[:-1]
    with pytest.raises(openai.InternalServerError, match="broke off"):
        client.chat.completions.create(model="alpaca", messages=ASK)
    with pytest.raises(openai.APIError, match="broke off"):
        list(client.chat.completions.create(model="alpaca", messages=ASK, stream=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("response_format", {"type": "json_object"}),
        ("presence_penalty", 0.5),
        ("logit_bias", {"5": 10}),
    ],
)
def test_wishes_that_would_be_passed_over_are_refused(http: httpx.Client, name: str, value: object) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "alpaca", "messages": ASK, name: value})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["param"], error["type"]) == ("not_supported", name, "invalid_request_error")


def test_fields_that_ask_for_nothing_are_taken(http: httpx.Client) -> None:
    plain = {"n": 1, "logprobs": False, "presence_penalty": 0, "frequency_penalty": 0.0, "tools": None, "user": "u"}
    answer = http.post("/v1/chat/completions", json={"model": "alpaca", "messages": ASK, **plain})
    assert answer.status_code == 200
    assert "x-ignored-fields" not in answer.headers


def test_fields_that_nobody_knows_are_named(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/chat/completions", json={"model": "alpaca", "messages": ASK, "temprature": 2, "é\r\nx": float(1)}
    )
    assert answer.status_code == 200
    assert answer.headers["x-ignored-fields"] == r"'temprature', '\xe9\r\nx'"


def test_sampling_out_of_its_range(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=r"temperature is -1\.0; it must be at least 0") as caught:
        client.chat.completions.create(model="alpaca", messages=ASK, temperature=-1)
    assert (caught.value.code, caught.value.param) == ("bad_sampling", "temperature")


def test_a_client_waits_for_a_model_that_is_being_loaded(
    address: str, scripted: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than it waits for a byte."""
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.2)
    monkeypatch.setattr(streams, "OPENING_S", 0.2)
    scripted.script = lambda _: [*loading(2.0), *saying("Late", " but", " whole")]
    with openai.OpenAI(base_url=f"{address}/v1", api_key=TOKEN, max_retries=0, timeout=1) as impatient:
        chunks = impatient.chat.completions.create(model="alpaca", messages=ASK, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Late but whole"
