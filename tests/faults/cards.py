"""Memory of a GPU that is used up. There is no GPU: the inventory is a pretended one, as the names here say."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
import torch

from app.inference import catalog, prompts
from app.inference.catalog import Preset
from app.inference.errors import NoRoom
from app.inference.pool import Options, Pool
from app.inference.pool.local import tools
from app.inference.types import Delta, GenerateRequest, Message, Role, SamplingParams
from spaces_runner.store import opened
from spaces_runner.types import Gpu, Stage
from tests.faults import programs
from tests.faults.world import World

GIB = 1024**3
CARD = Gpu(index=0, uuid="GPU-pretended", name="T4", total_bytes=16 * GIB, free_bytes=GIB)
CARDS = {card.name: card for card in catalog.read(Preset.DEMO)}
MODEL = "guanaco-7b"


@dataclass(slots=True)
class PretendedCard:
    """A device whose memory is what a number says: the pool's own seam for one (`app/inference/pool/tools.py`)."""

    most: int
    held: int = 0

    def budget(self, held: int) -> int:
        return self.most

    def host_room(self) -> int:
        return 0

    def hold(self, held: int) -> None:
        self.held = held


def out_of_memory_in_a_space_on_a_pretended_card(world: World) -> None:
    """The app is told as CUDA tells it. Its lease of the card is given back, and its owner hears what to do."""
    world.publish(programs.CUDA)
    space_id = world.start()
    store, run_id = opened(world.settings), world.run(space_id).id
    assert store.lease(run_id, lambda _: CARD.uuid) == CARD.uuid
    status = world.until(space_id, Stage.RUNTIME_ERROR).status
    assert "gpu-out-of-memory" in [finding.code for finding in status.findings]
    other = world.start("o/app")
    assert other == space_id
    world.until(space_id, Stage.RUNTIME_ERROR)
    world.publish()
    world.is_started_again(space_id)


def out_of_memory_in_the_core_on_a_pretended_card(world: World) -> None:
    """A model that does not fit is refused. Nothing of it is held, and it is loaded once there is room."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        asyncio.run(asyncio.wait_for(refused_then_answered(), 120))
    finally:
        torch.set_num_threads(threads)


async def refused_then_answered() -> None:
    card = PretendedCard(most=1024)
    pool = Pool((CARDS[MODEL],), replace(tools("cpu"), ledger=card), Options(tick_s=0.05, patience_s=5))
    await pool.start()
    try:
        with pytest.raises(NoRoom) as told:
            await answer(pool, "refused")
        assert told.value.hint
        assert card.held == 0
        card.most = 8 * GIB
        assert "Paris" in await answer(pool, "answered")
        assert 0 < card.held <= card.most
    finally:
        await pool.close()


async def answer(pool: Pool, name: str) -> str:
    message = Message(role=Role.USER, text="What is the capital of France?", images=())
    request = GenerateRequest(
        id=name,
        client="tests",
        model=MODEL,
        prompt=prompts.render(CARDS[MODEL].prompt, [message]),
        sampling=SamplingParams(max_tokens=24, temperature=0.0),
    )
    return "".join([event.text async for event in pool.generate(request) if isinstance(event, Delta)])
