"""Events from an engine's thread to an asyncio reader."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inference.engine import Failed
from app.inference.errors import GenerationFailed
from app.inference.pool.channel import Channel
from app.inference.types import Delta, Event, Finished, FinishReason, Queued, Started, Token, Usage

END = Finished(reason=FinishReason.EOS, usage=Usage(prompt_tokens=1, generated_tokens=1))


def delta(text: str) -> Delta:
    return Delta(text=text, tokens=(Token(id=len(text), text=text, logprob=0.0, special=False),))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


async def all_of(channel: Channel) -> list[Event]:
    events: list[Event] = []
    while not channel.done:
        events += await channel.take()
    return events


def test_events_come_in_order_and_the_reader_is_woken() -> None:
    async def test() -> None:
        channel = Channel()
        said = [Queued(position=0), Started(prompt_tokens=1, reused_tokens=0, seed=1), delta("a"), END]
        reading = asyncio.create_task(all_of(channel))
        for event in said:
            await asyncio.sleep(0.01)
            threading.Thread(target=channel.put, args=(event,)).start()
        assert await reading == said

    run(test())


def test_what_came_meanwhile_is_one_delta() -> None:
    async def test() -> None:
        channel = Channel()
        channel.put(Started(prompt_tokens=1, reused_tokens=0, seed=1))
        for letter in "abc":
            channel.put(delta(letter))
        channel.put(END)
        _, joined, end = await channel.take()
        assert isinstance(joined, Delta)
        assert (joined.text, [token.text for token in joined.tokens]) == ("abc", ["a", "b", "c"])
        assert end is END

    run(test())


def test_of_positions_in_the_queue_the_last_is_told() -> None:
    async def test() -> None:
        channel = Channel()
        for position in (5, 4, 3):
            channel.put(Queued(position=position))
        assert await channel.take() == (Queued(position=3),)

    run(test())


def test_an_error_is_raised_after_what_came_before() -> None:
    async def test() -> None:
        channel = Channel()
        channel.put(delta("a"))
        channel.put(Failed(error=GenerationFailed("It broke.")))
        assert channel.ended
        assert await channel.take() == (delta("a"),)
        with pytest.raises(GenerationFailed, match="It broke"):
            await channel.take()

    run(test())


def test_events_after_the_loop_has_ended_do_no_harm() -> None:
    async def test() -> Channel:
        channel = Channel()
        waiting = asyncio.create_task(channel.take())
        await asyncio.sleep(0.01)
        waiting.cancel()
        return channel

    channel = asyncio.run(test())
    channel.put(delta("a"))
    channel.put(END)
    assert channel.ended


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=3), max_size=40), st.lists(st.integers(0, 5), max_size=10))
def test_nothing_is_lost_however_slow_the_reader_is(texts: list[str], pauses: list[int]) -> None:
    async def test() -> None:
        channel = Channel()

        def say() -> None:
            said: list[Delta | Finished] = [*map(delta, texts), END]
            for event in said:
                channel.put(event)

        thread = threading.Thread(target=say)
        thread.start()
        events: list[Event] = []
        for pause in pauses:
            if channel.done:
                break
            events += await channel.take()
            await asyncio.sleep(pause / 10_000)
        events += await all_of(channel)
        thread.join()
        assert "".join(event.text for event in events if isinstance(event, Delta)) == "".join(texts)
        tokens = [token.text for event in events if isinstance(event, Delta) for token in event.tokens]
        assert tokens == texts
        assert events[-1] is END

    run(test())
