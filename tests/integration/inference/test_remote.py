"""Engines elsewhere: a second instance of our own server, by both protocols."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from app.inference import prompts
from app.inference.errors import (
    BadRequest,
    GenerationFailed,
    InferenceError,
    Overloaded,
    PromptTooLong,
    RemoteFailed,
)
from app.inference.remote import RemoteModel
from app.inference.types import (
    Delta,
    Endpoint,
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    Loading,
    Message,
    ModelCard,
    Queued,
    Role,
    SamplingParams,
    Started,
)
from tests.support.inference_remote import PNG, PROTOCOLS, ask, text
from tests.support.inference_server import (
    TOKEN,
    ScriptedService,
    Step,
    card,
    delta,
    finished,
    saying,
    serving,
    until,
)


def elsewhere(url: str, protocol: str, token_file: Path | None = None, model: str = "guanaco") -> ModelCard:
    base = f"{url}/tgi/{model}" if protocol == "tgi" else f"{url}/v1"
    endpoint = Endpoint(url=base, protocol=protocol, model=model, token_file=str(token_file) if token_file else None)
    return card("far", remote=endpoint, defaults=SamplingParams(stop=("### Human:",)))


def run(remote: ModelCard, request: GenerateRequest | None = None) -> list[Event]:
    async def all_of_it() -> list[Event]:
        async with asyncio.timeout(20):
            return [event async for event in RemoteModel(remote).generate(request or ask())]

    return asyncio.run(all_of_it())


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture(params=PROTOCOLS)
def far(request: pytest.FixtureRequest, address: str, token_file: Path) -> ModelCard:
    """A model that a second instance of our server serves."""
    return elsewhere(address, request.param, token_file)


# A second instance of our own server


def test_an_answer_from_elsewhere(far: ModelCard) -> None:
    events = run(far)
    assert isinstance(events[0], Queued)
    assert isinstance(events[1], Started)
    assert events[1].seed in (4, 5)  # ours, or what another core says it took
    assert text(events) == "Hello there!"
    assert "".join(one.text for event in events if isinstance(event, Delta) for one in event.tokens) == "Hello there!"
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.reason is FinishReason.EOS
    assert (last.usage.prompt_tokens, last.usage.generated_tokens) == (7, 3)
    assert [type(event) for event in events].count(Finished) == 1


def test_what_is_asked_arrives(far: ModelCard, scripted: ScriptedService) -> None:
    run(far, ask(top_p=0.9, top_k=7, repetition_penalty=1.2, stop=("END",)))
    request = scripted.requests[0]
    assert (request.model, request.prompt.text) == ("guanaco", "Hi")
    assert request.sampling == SamplingParams(
        max_tokens=20,
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        repetition_penalty=1.2,
        seed=4,
        stop=("END", "### Human:"),
    )


def test_greedy_stays_greedy(far: ModelCard, scripted: ScriptedService) -> None:
    run(far, ask(temperature=0, top_k=3, top_p=0.5))
    assert scripted.requests[0].sampling.greedy


def test_a_seed_is_drawn_where_none_is_said(far: ModelCard, scripted: ScriptedService) -> None:
    run(far, ask(seed=None))
    run(far, ask(seed=None))
    seeds = [request.sampling.seed for request in scripted.requests]
    assert None not in seeds
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_picture_arrives(address: str, token_file: Path, scripted: ScriptedService, protocol: str) -> None:
    shown = (Message(role=Role.USER, text="What is this?", images=(PNG,)),)
    run(elsewhere(address, protocol, token_file, model="llava"), ask(prompts.render("llava", shown)))
    prompt = scripted.requests[0].prompt
    assert prompt.images == (PNG,)
    assert prompt.text == prompts.render("llava", shown).text


@pytest.mark.parametrize(("reason"), list(FinishReason))
def test_reasons_to_finish(far: ModelCard, scripted: ScriptedService, reason: FinishReason) -> None:
    scripted.script = lambda _: [*saying("One", "Two")[:-1], finished(2, reason)]
    last = run(far)[-1]
    assert isinstance(last, Finished)
    assert last.reason is reason


def test_an_empty_answer(far: ModelCard, scripted: ScriptedService) -> None:
    scripted.script = lambda _: saying()
    events = run(far)
    assert text(events) == ""
    assert isinstance(events[-1], Finished)


def test_another_cores_loading_and_queue_are_told(address: str, token_file: Path, scripted: ScriptedService) -> None:
    before: list[Step] = [Loading(model="guanaco", what="weights", fraction=0.5, position=4), Queued(position=3)]
    scripted.script = lambda _: [*before, *saying("One")]
    events = run(elsewhere(address, "openai", token_file))
    assert events[:4] == [
        Loading(model="far", what="weights", fraction=0.5, position=4),
        Queued(position=3),
        Queued(position=0),
        Started(prompt_tokens=7, reused_tokens=3, seed=5),
    ]


def test_a_stop_string_that_the_engine_lets_pass_is_never_told(far: ModelCard, scripted: ScriptedService) -> None:
    said = ("Yes", ".\n", "##", "# Hu", "man:", " and", " more")

    def heedless(request: GenerateRequest) -> Iterator[Step]:
        yield from saying(*said)[:-1]
        while True:
            yield delta(" more")
            yield 0.01

    scripted.script = heedless
    events = run(far)
    assert text(events) == "Yes.\n"
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.stop) == (FinishReason.STOP, "### Human:")
    until(lambda: scripted.cancelled)


def test_closing_the_iterator_cancels_there(far: ModelCard, scripted: ScriptedService) -> None:
    def endless(request: GenerateRequest) -> Iterator[Step]:
        yield from saying()[:2]
        while True:
            yield delta("more ")
            yield 0.01

    async def leave_early() -> float:
        events = RemoteModel(far).generate(ask())
        async for event in events:
            if isinstance(event, Delta):
                break
        await events.aclose()  # type: ignore[attr-defined]  # an async generator, by its signature an iterator
        return time.monotonic()

    scripted.script = endless
    left = asyncio.run(leave_early())
    until(lambda: scripted.cancelled)
    assert scripted.cancelled[scripted.requests[0].id] - left < 0.5


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (PromptTooLong(900, 511), BadRequest, "900 tokens"),
        (Overloaded("The queue is full.", retry_after=7), Overloaded, "The queue is full"),
        (GenerationFailed("The device gave up."), RemoteFailed, "The device gave up"),
    ],
)
def test_errors_there_are_errors_here(
    far: ModelCard, scripted: ScriptedService, error: InferenceError, kind: type[InferenceError], says: str
) -> None:
    scripted.script = lambda _: [error]
    with pytest.raises(kind, match=says) as caught:
        run(far)
    if isinstance(caught.value, Overloaded):
        assert caught.value.retry_after == 7


def test_an_error_in_the_middle(far: ModelCard, scripted: ScriptedService) -> None:
    scripted.script = lambda _: [*saying("One")[:-1], GenerationFailed("The device gave up.")]
    with pytest.raises(RemoteFailed, match="The device gave up"):
        run(far)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tokens_and_names_that_are_not_known_there(
    address: str, tmp_path: Path, token_file: Path, protocol: str
) -> None:
    with pytest.raises(RemoteFailed, match="does not let us in"):
        run(elsewhere(address, protocol))
    with pytest.raises(RemoteFailed, match="cannot be read from"):
        run(elsewhere(address, protocol, tmp_path / "none"))
    with pytest.raises(RemoteFailed, match="There is no model 'nobody'"):
        run(elsewhere(address, protocol, token_file, model="nobody"))


class Far(ScriptedService):
    """A Service whose one model is elsewhere."""

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Event]:
        async for event in RemoteModel(self.offered[0]).generate(request):
            yield event


@pytest.mark.parametrize("stream", [False, True])
def test_the_api_is_the_same_for_a_model_elsewhere(far: ModelCard, scripted: ScriptedService, stream: bool) -> None:
    scripted.script = lambda _: saying("One", "\u2028", "\x85 two", " 🦙")
    with serving(Far(offered=(far,))) as near, openai.OpenAI(base_url=f"{near}/v1", api_key=TOKEN) as client:
        asked: dict[str, Any] = {"model": "far", "messages": [{"role": "user", "content": "Hi"}]}
        if stream:
            chunks = client.chat.completions.create(**asked, stream=True)
            said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        else:
            said = client.chat.completions.create(**asked).choices[0].message.content
    assert said == "One\u2028\x85 two 🦙"


def test_nobody_is_there() -> None:
    endpoint = Endpoint(url="http://user:secret@127.0.0.1:9", protocol="openai", model="m")
    with pytest.raises(RemoteFailed, match=r"The engine at 127\.0\.0\.1:9 did not answer") as caught:
        run(card("far", remote=endpoint))
    assert "secret" not in caught.value.sentence


def test_a_card_must_name_an_endpoint() -> None:
    with pytest.raises(ValueError, match="names no engine elsewhere"):
        RemoteModel(card("near"))
    with pytest.raises(ValueError, match="openai, tgi"):
        RemoteModel(card("far", remote=Endpoint(url="http://127.0.0.1", protocol="grpc", model="m")))
