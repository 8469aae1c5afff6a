"""What a page is told of an answer: to its end, until it turns away, or until somebody deletes the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import starlette.requests

from app.inference.types import GenerateRequest, Role, Started
from app.playground import requests
from app.playground.answers import Answers, Running
from app.playground.conversations import OWNER, Conversations
from app.playground.core import Core, Place
from app.playground.playground import Playground, Said
from app.playground.talk import State, Turn
from app.tabs.chat import flow, shelf
from app.tabs.chat.flow import Telling, Values
from app.tabs.chat.following import Following
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


def asked(page: str) -> gr.Request:
    """What a page's event comes with, as the gate leaves it."""
    scope = {"type": "http", "headers": [], "query_string": b"", "state": {"user": OWNER}}
    return gr.Request(request=starlette.requests.Request(scope), session_hash=page)


def a_chat(playground: Playground) -> Following:
    with gr.Blocks():
        text = gr.HTML()
        kept = shelf.build(playground, "guanaco")
    return Following(
        playground=playground,
        shelf=kept,
        grows=[text],
        growing=lambda _, running: lambda: running.text,
        told=[text],
        whole=lambda user, shown, _: (playground.see(user, shown).turns[-1].text,),
        gone=lambda user, words, error: (error.sentence,),
    )


async def heard(values: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in values]


def test_what_grows_is_told_as_it_grows_and_the_whole_once_at_the_end(tmp_path: Path, url: str) -> None:
    async def work(playground: Playground, running: Running) -> None:
        chat, shown, whole = a_chat(playground), running.order.conversation, "".join(f"{n} " for n in range(WORDS))
        assert await heard(chat.follow(shown, None, asked(PAGE))) == [gr.skip()], "nothing is under way for this page"
        *grown, last = await heard(chat.follow(shown, "a mark", asked(PAGE)))
        assert len(grown) > 3 and all(whole.startswith(text) for text in grown) and grown == sorted(grown, key=len)
        assert last == gr.skip(), "Gradio says it once more"
        assert await heard(chat.settle(shown, None, asked(PAGE))) == [(whole,), (gr.skip(),)], "likewise"
        assert await heard(chat.settle(shown, None, asked(PAGE))) == [(gr.skip(),)]

    answering(tmp_path, url, work)


def test_a_page_follows_an_answer_once_and_one_that_turned_away_is_told_no_whole(tmp_path: Path, url: str) -> None:
    async def work(playground: Playground, running: Running) -> None:
        chat, shown = a_chat(playground), running.order.conversation
        following = asyncio.create_task(heard(chat.follow(shown, "a mark", asked(PAGE))))
        await running.wait(0.3)
        assert await heard(chat.follow(shown, "a mark", asked(PAGE))) == [gr.skip()]
        await chat.shelf.leave(asked(PAGE))
        assert (await following)[-1] == gr.skip() and not running.done
        assert await heard(chat.settle(shown, "", asked(PAGE))) == [(gr.skip(),)]

    answering(tmp_path, url, work)


def test_a_page_that_asked_and_was_closed_before_it_followed_ends_its_answer(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.tabs.chat.watch.CLAIM_S", 0.2)

    async def work(playground: Playground, running: Running) -> None:
        chat, shown = a_chat(playground), running.order.conversation
        chat.shelf.asked("follows", shown)
        assert chat.shelf.watches.claim("follows") and not chat.shelf.watches.claim("follows")
        chat.shelf.asked("leaves", shown)
        await chat.shelf.leave(asked("leaves"))
        await running.wait(0.5)
        assert not running.done
        chat.shelf.asked("closed", shown)
        await running.wait(2)
        assert running.answer.state is State.INTERRUPTED

    answering(tmp_path, url, work)
