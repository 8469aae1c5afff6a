"""The playground against a scripted core on loopback: answers, stops, failures, rates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.inference.errors import Interrupted, NotSupported, Overloaded, PromptTooLong
from app.inference.types import Loading, Message, Queued, Role, Started
from app.playground import requests
from app.playground.answers import Answers, Running
from app.playground.client import ChatRequest, CoreClient
from app.playground.conversations import OWNER, Conversations
from app.playground.core import Core, Phase, Place
from app.playground.errors import Answering, CoreAway, CoreRefused, NotFound, PlaygroundError, TooFast, TooMuch
from app.playground.pace import interval
from app.playground.playground import Playground, Said
from app.playground.rates import Rate, Rates
from app.playground.talk import MAX_CHARS, Answer, State, Turn
from tests.support.inference_server import TOKEN, ScriptedService, Step, delta, saying, serving

GUEST = "guest-1"
BEGUN = Started(prompt_tokens=7, reused_tokens=0, seed=1)
SLOW: list[Step] = [
    Queued(position=0), BEGUN, *(step for number in range(200) for step in (delta(f"{number} "), 0.02)),
]  # fmt: skip


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
def url(service: ScriptedService) -> Iterator[str]:
    with serving(service) as address:
        yield address


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Conversations]:
    opened = Conversations(tmp_path / "conversations.db")
    yield opened
    opened.close()


def play(kept: Conversations, url: str, work: Callable[[Playground], Awaitable[None]], **more: Rates) -> None:
    """`work` in a loop of its own, with a playground over the core at `url`."""

    async def run() -> None:
        core = Core(find=lambda: Place(url=url, token=TOKEN))
        playground = Playground(core, kept, Answers(core, kept), **more)
        try:
            await asyncio.wait_for(work(playground), 20)
        finally:
            await playground.answers.close()
            await core.close()

    asyncio.run(run())


def say(playground: Playground, text: str, user: str = OWNER, conversation: str | None = None) -> Running:
    kept = playground.conversations
    where = conversation or kept.begin(user, "guanaco", "guanaco").id
    keep = len(kept.get(user, where).turns)
    return playground.say(
        user,
        Said(conversation=where, keep=keep, turns=(Turn(role=Role.USER, text=text),), model="guanaco",
             title="Guanaco", ask=requests.chat, system="Be kind.", sampling={"temperature": 0.5}),
    )  # fmt: skip


def test_an_answer_is_written_and_kept(kept: Conversations, url: str, service: ScriptedService) -> None:
    async def work(playground: Playground) -> None:
        running = say(playground, "hi")
        await running.wait(5)
        turns = playground.see(OWNER, running.order.conversation).turns
        assert turns[0].text == "hi"
        assert turns[1] == Turn(role=Role.ASSISTANT, text="Hello there!", answer=Answer(
            model="Guanaco", state=State.DONE, prompt_tokens=7, generated_tokens=3, tokens_per_s=4.0, device="cpu",
        ))  # fmt: skip
        assert playground.answers.count == 0

    play(kept, url, work)
    asked = service.requests[0]
    assert asked.client == "owner/owner" and asked.sampling.temperature == 0.5
    assert [message.text for message in asked.prompt.messages] == ["Be kind.", "hi"]


def test_the_demo_weights_are_noted(kept: Conversations, url: str, service: ScriptedService) -> None:
    service.offered = tuple(replace(card, demo=True) for card in service.offered)

    async def work(playground: Playground) -> None:
        running = say(playground, "hi")
        await running.wait(5)
        assert running.answer.demo

    play(kept, url, work)


def test_a_stop_frees_the_core_and_keeps_what_was_written(
    kept: Conversations, url: str, service: ScriptedService
) -> None:
    service.script = lambda request: SLOW

    async def work(playground: Playground) -> None:
        running = say(playground, "go on")
        while "2 " not in running.text:
            await asyncio.sleep(0.01)
        begun = time.monotonic()
        await playground.end(OWNER, running.order.conversation, State.STOPPED)
        assert running.done and time.monotonic() - begun < 0.5
        turn = kept.get(OWNER, running.order.conversation).turns[1]
        assert turn.text.startswith("0 1 2 ") and turn.answer is not None and turn.answer.state is State.STOPPED
        assert turn.answer.prompt_tokens == 7 and turn.answer.device == "cpu"
        assert turn.answer.generated_tokens == len(turn.text)  # as that core counts
        while not service.cancelled:
            await asyncio.sleep(0.01)
        assert time.monotonic() - begun < 0.5

    play(kept, url, work)


def test_a_stopped_answer_says_how_fast_it_was(kept: Conversations, url: str, service: ScriptedService) -> None:
    service.script = lambda request: SLOW

    async def work(playground: Playground) -> None:
        running = say(playground, "go on")
        while running.last - running.first < 0.6:
            await asyncio.sleep(0.01)
        await playground.end(OWNER, running.order.conversation, State.STOPPED)
        answer = running.answer
        assert answer.tokens_per_s == pytest.approx((answer.generated_tokens - 1) / (running.last - running.first))

    play(kept, url, work)


class Uncounting(ScriptedService):
    """An engine without a tokenizer of its own."""

    async def count_tokens(self, model: str, text: str) -> tuple[int, ...]:
        raise NotSupported("This engine counts no tokens.")


def test_an_engine_that_counts_nothing_leaves_the_count_unsaid(kept: Conversations) -> None:
    async def work(playground: Playground) -> None:
        running = say(playground, "go on")
        while "2 " not in running.text:
            await asyncio.sleep(0.01)
        await playground.end(OWNER, running.order.conversation, State.STOPPED)
        assert (running.answer.state, running.answer.prompt_tokens) == (State.STOPPED, 7)
        assert (running.answer.generated_tokens, running.answer.tokens_per_s) == (0, 0)

    with serving(Uncounting(script=lambda request: SLOW)) as address:
        play(kept, address, work)


def test_what_is_written_is_saved_on_the_way(kept: Conversations, url: str, service: ScriptedService) -> None:
    service.script = lambda request: SLOW

    async def work(playground: Playground) -> None:
        ticks = iter(range(0, 100_000, 3))
        playground.answers.clock = lambda: float(next(ticks))
        running = say(playground, "go on")
        while not kept.get(OWNER, running.order.conversation).turns[1].text:
            await asyncio.sleep(0.01)
        assert not running.done
        assert playground.see(OWNER, running.order.conversation).turns[1].text == running.text

    play(kept, url, work)


def test_stages_before_the_first_word_are_told(kept: Conversations, url: str, service: ScriptedService) -> None:
    loading = Loading(model="guanaco", what="Reading weights", fraction=0.5)
    service.script = lambda request: [loading, 3.5, Queued(position=3), 0.2, *saying("x")]

    async def work(playground: Playground) -> None:
        running = say(playground, "hi")
        seen = []
        while not running.done:
            if running.stage not in seen:
                seen.append(running.stage)
            await asyncio.sleep(0.01)
        assert loading in seen and Queued(position=3) in seen

    play(kept, url, work)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([Overloaded("Too many requests wait.", retry_after=7)], "Too many requests wait. Try again in 7 s."),
        ([Queued(position=0), delta("Half"), Interrupted("The core is ending.")], "The core is ending."),
    ],
)
def test_a_failure_is_kept_as_a_sentence(
    kept: Conversations, url: str, service: ScriptedService, script: list[Step], words: str
) -> None:
    service.script = lambda request: script

    async def work(playground: Playground) -> None:
        running = say(playground, "hi")
        await running.wait(5)
        turn = kept.get(OWNER, running.order.conversation).turns[1]
        assert turn.answer is not None and (turn.answer.state, turn.answer.note) == (State.FAILED, words)
        assert playground.core.phase is Phase.READY

    play(kept, url, work)


def test_a_core_that_is_not_there(kept: Conversations) -> None:
    async def work(playground: Playground) -> None:
        running = say(playground, "hi")
        await running.wait(10)
        assert running.answer.state is State.FAILED and "does not answer" in running.answer.note
        assert playground.core.phase is Phase.AWAY and "spaces-runner core logs" in playground.core.problem

    play(kept, "http://127.0.0.1:9", work)


def test_a_core_that_ends_is_found_anew(kept: Conversations, service: ScriptedService) -> None:
    places: list[str] = []

    async def work(playground: Playground) -> None:
        playground.core.find = lambda: Place(url=places[-1], token=TOKEN)
        with serving(service) as first:
            places.append(first)
            await say(playground, "one").wait(5)
        lost = say(playground, "two")
        await lost.wait(5)
        assert lost.answer.state is State.FAILED
        with serving(service) as second:
            places.append(second)
            found = say(playground, "three")
            await found.wait(5)
            assert found.answer.state is State.DONE

    play(kept, "", work)


def test_a_long_conversation_goes_on_without_its_beginning(
    kept: Conversations, url: str, service: ScriptedService
) -> None:
    service.script = lambda request: (
        [PromptTooLong(600, 400)] if len(request.prompt.messages) > 4 else saying("Still here")
    )

    async def work(playground: Playground) -> None:
        conversation = None
        for text in ("one", "two", "three"):
            running = say(playground, text, conversation=conversation)
            conversation = running.order.conversation
            await running.wait(5)
        assert running.answer.state is State.DONE and running.answer.forgotten == 1
        assert [message.text for message in service.requests[-1].prompt.messages] == [
            "Be kind.", "two", "Still here", "three",
        ]  # fmt: skip

    play(kept, url, work)


def test_one_question_that_is_too_long_is_refused(kept: Conversations, url: str, service: ScriptedService) -> None:
    service.script = lambda request: [PromptTooLong(600, 400)]

    async def work(playground: Playground) -> None:
        running = say(playground, "long")
        await running.wait(5)
        assert "600 tokens" in running.answer.note

    play(kept, url, work)


def test_one_answer_at_a_time(kept: Conversations, url: str, service: ScriptedService) -> None:
    service.script = lambda request: SLOW

    async def work(playground: Playground) -> None:
        running = say(playground, "one")
        with pytest.raises(Answering):
            say(playground, "two", conversation=running.order.conversation)
        with pytest.raises(NotFound):
            await playground.end(GUEST, running.order.conversation, State.STOPPED)
        assert len(kept.get(OWNER, running.order.conversation).turns) == 2

    play(kept, url, work)


def test_guests_are_held_back_and_the_owner_is_not(kept: Conversations, url: str) -> None:
    async def work(playground: Playground) -> None:
        for _ in range(2):
            await say(playground, "x", GUEST).wait(5)
        with pytest.raises(TooFast) as slow:
            say(playground, "x", GUEST)
        assert "faster than guests may" in slow.value.sentence
        for _ in range(4):
            await say(playground, "x").wait(5)

    play(kept, url, work, rates=Rates(each=Rate(burst=2, per_minute=1), together=Rate(burst=9, per_minute=9)))


def test_a_guest_has_two_answers_at_once(kept: Conversations, url: str, service: ScriptedService) -> None:
    service.script = lambda request: SLOW

    async def work(playground: Playground) -> None:
        say(playground, "one", GUEST)
        say(playground, "two", GUEST)
        with pytest.raises(Answering):
            say(playground, "three", GUEST)
        say(playground, "one", "guest-2")

    play(kept, url, work)


def test_answers_of_no_conversation_count_too(kept: Conversations, url: str, service: ScriptedService) -> None:
    service.script = lambda request: SLOW

    async def work(playground: Playground) -> None:
        with playground.answers.apart(GUEST):
            say(playground, "one", GUEST)
            assert playground.answers.count == 2
            with pytest.raises(Answering):
                playground.admit(GUEST)
            playground.admit("guest-2")
        playground.admit(GUEST)

    play(kept, url, work)


def test_rates() -> None:
    now = [0.0]
    rates = Rates(each=Rate(burst=2, per_minute=6), together=Rate(burst=3, per_minute=60), clock=lambda: now[0])
    rates.take("a")
    rates.take("a")
    with pytest.raises(TooFast) as slow:
        rates.take("a")
    assert slow.value.retry_after == pytest.approx(10)
    rates.take("b")
    with pytest.raises(TooFast, match="Many guests"):
        rates.take("c")
    now[0] = 10.0
    rates.take("a")
    rates.take("c")


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Turn(role=Role.USER, text="  \n "), "nothing to answer"),
        (Turn(role=Role.USER, text="x" * 100_001), "100,001 characters"),
        (Turn(role=Role.USER, text="x", pictures=(b"\x89PNG",) * 5), "At most 4 pictures"),
        (Turn(role=Role.USER, text="x", pictures=(bytes(10 * 2**20 + 1),)), "10 MiB"),
        (Turn(role=Role.USER, text="x", pictures=(b"root:x:0:0",)), "no picture"),
    ],
)
def test_too_little_and_too_much_is_refused(kept: Conversations, url: str, turn: Turn, words: str) -> None:
    async def work(playground: Playground) -> None:
        begun = kept.begin(OWNER, "guanaco", "guanaco")
        said = Said(conversation=begun.id, keep=0, turns=(turn,), model="guanaco", title="Guanaco", ask=requests.chat)
        with pytest.raises(PlaygroundError, match=words):
            playground.say(OWNER, said)
        assert kept.get(OWNER, begun.id).turns == ()

    play(kept, url, work)


def test_models_and_their_residency(url: str) -> None:
    async def work() -> None:
        client = CoreClient(url, TOKEN)
        assert [model.name for model in await client.models()] == ["alpaca", "guanaco", "storyteller", "llava"]
        await client.load("guanaco")
        assert {model.name: model.residency for model in await client.models()}["guanaco"] == "resident"
        await client.sleep("guanaco")
        await client.unload("guanaco")
        with pytest.raises(CoreRefused, match="There is no model 'bogus'"):
            await client.load("bogus")
        await client.close()

    asyncio.run(work())


def test_a_wrong_token_and_a_wrong_server(url: str) -> None:
    async def work() -> None:
        client = CoreClient(url, "wrong")
        with pytest.raises(CoreRefused, match="opens nothing here"):
            await client.models()
        with pytest.raises(CoreRefused, match="opens nothing here"):
            async for _ in client.chat(ChatRequest(model="guanaco", messages=[], client="x")):
                pass
        await client.close()
        away = CoreClient("http://127.0.0.1:9", TOKEN)
        with pytest.raises(CoreAway):
            await away.models()
        await away.close()

    asyncio.run(work())


def turns(*texts: str) -> list[Turn]:
    return [Turn(role=(Role.USER, Role.ASSISTANT)[place % 2], text=text) for place, text in enumerate(texts)]


def test_what_a_model_is_asked() -> None:
    assert [message.text for message in requests.chat(turns("a", "b", "c"), "s")] == ["s", "a", "b", "c"]
    assert [message.text for message in requests.chat(turns("a", "", "c"), "")] == ["a", "c"]
    given = [*turns("old", "answer"), Turn(role=Role.USER, text="Translate."), Turn(role=Role.USER, text="Hund")]
    assert [message.text for message in requests.instruction(given, "")] == ["Translate.", "Hund"]
    assert requests.story(turns("Once ", "upon ", "a time"), "s") == [Message(role=Role.USER, text="Once upon a time")]


@pytest.mark.parametrize(
    ("text", "kept", "added"),
    [
        ("Once upon", 2, []),
        ("Once upon a", 2, [" a"]),
        ("Once up", 1, [" up"]),
        ("Twice upon", 0, ["Twice upon"]),
        ("", 0, []),
    ],
)
def test_a_story_that_was_changed_goes_on_from_the_change(text: str, kept: int, added: list[str]) -> None:
    found = requests.pieces(turns("Once", " upon"), text)
    assert (found[0], [turn.text for turn in found[1]]) == (kept, added)


@pytest.mark.parametrize(
    ("text", "kept", "added"),
    [
        ("Once upon a time", 3, []),
        ("Once upon a time, there", 3, [", there"]),
        ("Twice upon a time", 0, ["Twice upon a"]),
        ("Once upon one time", 2, [" one"]),
    ],
)
def test_a_story_without_its_last_piece_keeps_what_the_person_wrote(text: str, kept: int, added: list[str]) -> None:
    found = requests.without_last_answer(turns("Once", " upon", " a", " time"), text)
    assert (found[0], [turn.text for turn in found[1]]) == (kept, added)


@pytest.mark.parametrize(
    ("written", "text", "words"),
    [((), "Once", "written nothing"), (("Once",), "Once", "written nothing"), (("a", "b"), "a B", "your own now")],
)
def test_a_last_piece_that_is_not_the_models_is_not_taken(written: tuple[str, ...], text: str, words: str) -> None:
    with pytest.raises(PlaygroundError, match=words):
        requests.without_last_answer(turns(*written), text)


def test_what_is_taken_back_leaves_what_was_changed(kept: Conversations, url: str) -> None:
    async def work(playground: Playground) -> None:
        running = say(playground, "Once")
        await running.wait(5)
        own = [Turn(role=Role.USER, text="Twice")]
        found = playground.take_back(OWNER, running.order.conversation, 0, own)
        assert [turn.text for turn in found.turns] == ["Twice"]
        with pytest.raises(TooMuch):
            playground.take_back(OWNER, found.id, 0, [Turn(role=Role.USER, text="x" * (MAX_CHARS + 1))])
        assert [turn.text for turn in playground.see(OWNER, found.id).turns] == ["Twice"]

    play(kept, url, work)


def test_the_more_streams_the_rarer_each_is_shown() -> None:
    assert interval(1) == 0.2 and interval(195) == 0.3 and interval(10_000) == 0.5
