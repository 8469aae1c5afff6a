"""What a page is told of an answer: to its end, until it turns away, or until somebody deletes the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from app.inference.types import GenerateRequest, Role, Started
from app.playground import requests
from app.playground.answers import Answers, Running
from app.playground.conversations import OWNER, Conversations
from app.playground.core import Core, Place
from app.playground.playground import Playground, Said
from app.playground.talk import State, Turn
from app.tabs.chat import flow
from app.tabs.chat.flow import Telling, Values
from app.tabs.chat.watch import Watch, Watches
from tests.support.inference_server import TOKEN, ScriptedService, Step, delta, finished, serving

PAGE = "page"
WORDS = 40


def slowly(request: GenerateRequest) -> list[Step]:
    words: list[Step] = [step for number in range(WORDS) for step in (delta(f"{number} "), 0.05)]
    return [Started(prompt_tokens=1, reused_tokens=0, seed=1), *words, finished(WORDS)]


@pytest.fixture
def url() -> Iterator[str]:
    with serving(ScriptedService(script=slowly)) as address:
        yield address


Work = Callable[[Playground, Running], Awaitable[None]]


def answering(tmp_path: Path, url: str, work: Work) -> None:
    """`work` while an answer is being written that takes two seconds."""

    async def run() -> None:
        core, kept = Core(find=lambda: Place(url=url, token=TOKEN)), Conversations(tmp_path / "kept.db")
        playground = Playground(core, kept, Answers(core, kept))
        said = Said(conversation=kept.begin(OWNER, "guanaco", "guanaco").id, keep=0, model="guanaco", title="Guanaco",
                    turns=(Turn(role=Role.USER, text="hi"),), ask=requests.chat)  # fmt: skip
        try:
            await asyncio.wait_for(work(playground, playground.say(OWNER, said)), 20)
        finally:
            await playground.close()

    asyncio.run(run())


def told(playground: Playground, running: Running, watch: Watch) -> AsyncGenerator[Values, None]:
    telling = Telling(
        grown=lambda: ("grown", playground.see(OWNER, running.order.conversation).turns[-1].text),
        whole=lambda: ("whole", playground.see(OWNER, running.order.conversation).turns[-1].text),
        gone=lambda error: ("gone", error.sentence),
        nothing=("nothing", ""),
    )
    return flow.told(playground, [running], watch, telling, own=True)


async def followed(playground: Playground, running: Running, watches: Watches, hear: Callable[[Values], None]) -> None:
    with watches.begin(PAGE) as watch:
        async with aclosing(told(playground, running, watch)) as values:
            async for each in values:
                hear(each)


async def grown(heard: list[Values]) -> None:
    while not any(text for _, text in heard):
        await asyncio.sleep(0.01)


def test_an_answer_is_followed_to_its_end(tmp_path: Path, url: str) -> None:
    async def work(playground: Playground, running: Running) -> None:
        heard: list[Values] = []
        await followed(playground, running, Watches(), heard.append)
        assert len(heard) > 3 and heard[0][0] == "grown"
        assert heard[-1] == ("whole", "".join(f"{number} " for number in range(WORDS)))

    answering(tmp_path, url, work)


def test_a_page_that_turned_away_is_told_nothing_and_the_answer_goes_on(tmp_path: Path, url: str) -> None:
    async def work(playground: Playground, running: Running) -> None:
        heard: list[Values] = []
        watches = Watches()
        following = asyncio.create_task(followed(playground, running, watches, heard.append))
        await grown(heard)
        assert watches.following(PAGE) and not watches.following("another")
        await watches.leave("another")
        assert not running.done and watches.following(PAGE)
        await watches.leave(PAGE)
        assert not watches.following(PAGE) and not running.done
        assert heard[-1] == ("nothing", "")  # which Gradio tells the page once more
        before = len(heard)
        await asyncio.gather(following, running.wait(10))
        assert len(heard) == before
        assert running.answer.state is State.DONE
        assert playground.see(OWNER, running.order.conversation).turns[-1].text.endswith(f"{WORDS - 1} ")

    answering(tmp_path, url, work)


def test_a_page_that_is_closed_ends_its_answer(tmp_path: Path, url: str) -> None:
    async def work(playground: Playground, running: Running) -> None:
        with Watches().begin(PAGE) as watch:
            async with aclosing(told(playground, running, watch)) as values:
                assert (await anext(values))[0] == "grown"
        assert running.done and running.answer.state is State.INTERRUPTED

    answering(tmp_path, url, work)


def test_a_conversation_that_is_deleted_meanwhile_is_told_in_a_sentence(tmp_path: Path, url: str) -> None:
    async def work(playground: Playground, running: Running) -> None:
        heard: list[Values] = []
        following = asyncio.create_task(followed(playground, running, Watches(), heard.append))
        await grown(heard)
        await playground.delete(OWNER, running.order.conversation)
        await following
        assert heard[-1] == ("gone", "That conversation is not there any more. Choose another, or begin a new one.")

    answering(tmp_path, url, work)
