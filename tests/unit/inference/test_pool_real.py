"""The pool over real engines and the demo weights, on a device that pretends to hold fewer of them than there are."""

from __future__ import annotations

import asyncio
import gc
import io
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import torch
from PIL import Image

from app.inference import catalog, prompts
from app.inference.catalog import Preset
from app.inference.errors import BadImage, BadRequest, ImagesNotSupported, NotSupported, PromptTooLong
from app.inference.pool import Options, Pool, images
from app.inference.pool.local import tools
from app.inference.pool.residency import park
from app.inference.types import (
    Delta,
    Finished,
    GenerateRequest,
    Message,
    ModelCard,
    Residency,
    Role,
    SamplingParams,
    Started,
)

GIB = 1024**3
CARDS = {card.name: card for card in catalog.read(Preset.DEMO)}
TEXT = ("guanaco-7b", "mpt-7b-chat", "mpt-7b-instruct")
QUESTION = "What is the capital of France?"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class SmallDevice:
    """Holds `most` bytes in all, and remembers the most that it was told of."""

    most: int
    peak: int = 0
    told: list[int] = field(default_factory=list)

    def budget(self, held: int) -> int:
        return self.most

    def host_room(self) -> int:
        return 8 * GIB

    def hold(self, held: int) -> None:
        self.peak = max(self.peak, held)
        self.told.append(held)


@asynccontextmanager
async def pool_on(device: SmallDevice) -> AsyncIterator[Pool]:
    """Weights sleep as on a GPU: by their storages, beside which the CPU's memory stands for the host's."""
    own = replace(tools("cpu"), ledger=device, park=park)
    pool = Pool(tuple(CARDS.values()), own, Options(tick_s=0.05, patience_s=30))
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def request_of(model: str, text: str, *images: bytes, number: int = 0) -> GenerateRequest:
    message = Message(role=Role.USER, text=text, images=images)
    return GenerateRequest(
        id=f"{model}-{number}",
        client="tests",
        model=model,
        prompt=prompts.render(CARDS[model].prompt, [message]),
        sampling=SamplingParams(max_tokens=24, temperature=0.0),
    )


async def answer(pool: Pool, request: GenerateRequest) -> str:
    return "".join([event.text async for event in pool.generate(request) if isinstance(event, Delta)])


def sizes() -> dict[str, int]:
    """What each model's weights take, as the loader estimates it."""
    cards: dict[tuple[object, ...], list[ModelCard]] = {}
    for card in CARDS.values():
        cards.setdefault(card.base, []).append(card)
    estimate = tools("cpu").estimate
    return {card.name: estimate(group) for group in cards.values() for card in group}


def picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_models_that_take_turns_on_a_small_device_answer_as_before_they_slept() -> None:
    async def test() -> None:
        roomy = SmallDevice(most=8 * GIB)
        async with pool_on(roomy) as pool:
            alone = {name: await answer(pool, request_of(name, QUESTION)) for name in TEXT}
            kv = max(status.kv_bytes for status in pool.status())
        assert "Paris" in alone["guanaco-7b"]
        narrow = SmallDevice(most=max(sizes().values()) + 2 * kv)  # one at a time
        async with pool_on(narrow) as pool:
            for _ in range(2):
                for name in TEXT:
                    assert await answer(pool, request_of(name, QUESTION)) == alone[name]
            states = [status.residency for status in pool.status()]
            assert Residency.ASLEEP in states
        assert narrow.peak <= narrow.most

    asyncio.run(asyncio.wait_for(test(), 300))


def test_many_at_once_on_a_device_for_few_are_all_answered() -> None:
    async def test() -> None:
        device = SmallDevice(most=8 * GIB)
        async with pool_on(device) as pool:
            names = [TEXT[number % 3] for number in range(24)]
            answers = await asyncio.gather(
                *(answer(pool, request_of(name, QUESTION, number=number)) for number, name in enumerate(names))
            )
            for name in TEXT:
                said = {text for text, of in zip(answers, names, strict=True) if of == name}
                assert len(said) == 1, "in whatever batch, greedy answers are the same"
            assert all(status.running == status.waiting == 0 for status in pool.status())

    asyncio.run(asyncio.wait_for(test(), 300))


def test_what_cannot_be_meant_is_told_and_the_others_go_on() -> None:
    async def test() -> None:
        async with pool_on(SmallDevice(most=8 * GIB)) as pool:
            guanaco = request_of("guanaco-7b", QUESTION)
            with pytest.raises(ImagesNotSupported):
                await answer(pool, replace(guanaco, prompt=replace(guanaco.prompt, images=(picture("red"),))))
            long = request_of("guanaco-7b", "word " * 2000)
            with pytest.raises(PromptTooLong) as caught:
                await answer(pool, long)
            assert caught.value.limit == CARDS["guanaco-7b"].context - 1
            events = [event async for event in pool.generate(replace(long, truncate=100, id="cut"))]
            started = next(event for event in events if isinstance(event, Started))
            assert started.prompt_tokens == 100
            assert isinstance(events[-1], Finished)
            assert "Paris" in await answer(pool, guanaco)

    asyncio.run(asyncio.wait_for(test(), 300))


def test_of_many_pictures_one_is_in_memory_at_a_time_and_none_while_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[weakref.ref[Image.Image]] = []
    decode = images.decode

    def watched(data: bytes) -> Image.Image:
        assert in_memory() == []
        shown = decode(data)
        decoded.append(weakref.ref(shown))
        return shown

    def in_memory() -> list[Image.Image]:
        gc.collect()
        return [shown for ref in decoded if (shown := ref()) is not None]

    async def test() -> None:
        async with pool_on(SmallDevice(most=8 * GIB)) as pool:
            seen = request_of("llava-1.5-7b", "What colours are they?", *map(picture, ("red", "blue", "green")))
            async for event in pool.generate(seen):
                if not isinstance(event, Finished):
                    assert in_memory() == []
            assert len(decoded) == 2 * 3, "read while it waits for the model, and again to be seen"
            await answer(pool, replace(seen, id="again"))
            assert len(decoded) == 3 * 3, "nobody waits"

    monkeypatch.setattr(images, "decode", watched)
    asyncio.run(asyncio.wait_for(test(), 300))


def test_a_picture_is_seen_and_a_broken_one_is_told() -> None:
    async def test() -> None:
        async with pool_on(SmallDevice(most=8 * GIB)) as pool:
            seen = request_of("llava-1.5-7b", "What colour is it?", picture("red"))
            events = [event async for event in pool.generate(seen)]
            started = next(event for event in events if isinstance(event, Started))
            plain = await pool.count_tokens("llava-1.5-7b", seen.prompt.text)
            assert started.prompt_tokens > len(plain) + 10, "a picture is many tokens"
            with pytest.raises(BadImage):
                await answer(pool, request_of("llava-1.5-7b", "What is it?", b"no picture"))
            with pytest.raises(BadRequest, match="places for pictures"):
                await answer(pool, replace(seen, id="two", prompt=replace(seen.prompt, images=(picture("red"),) * 2)))
            with pytest.raises(NotSupported, match=f"{started.prompt_tokens} tokens with its pictures"):
                await answer(pool, replace(seen, id="cut", truncate=started.prompt_tokens - 1))
            again = await answer(pool, replace(seen, id="whole", truncate=started.prompt_tokens))
            assert again == "".join(event.text for event in events if isinstance(event, Delta))

    asyncio.run(asyncio.wait_for(test(), 300))
