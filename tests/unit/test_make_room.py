"""Room for a Space that had too little: the models that nobody uses sleep, and only they."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from app.inference.errors import Overloaded
from app.inference.types import ModelStatus, Residency
from app.playground.answers import Answers
from app.playground.conversations import Conversations
from app.playground.core import Core, Place
from app.playground.errors import PlaygroundError
from app.playground.playground import Playground
from app.tabs.relaunch import make_room
from tests.support.inference_server import CARDS, TOKEN, ScriptedService, serving

FIRST, SECOND = (card.name for card in CARDS[:2])


@dataclass(slots=True)
class Working(ScriptedService):
    """`busy` models are answering; `firm` ones are asked for just when they are to sleep."""

    busy: tuple[str, ...] = ()
    firm: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def status(self) -> tuple[ModelStatus, ...]:
        told = ScriptedService.status(self)
        return tuple(replace(one, running=1) if one.card.name in self.busy else one for one in told)

    async def sleep(self, model: str) -> None:
        self.asked.append(model)
        if model in self.firm:
            raise Overloaded("It is answering.", retry_after=1)
        await ScriptedService.sleep(self, model)


def made_room(tmp_path: Path, service: Working) -> None:
    async def run(url: str) -> None:
        core, kept = Core(find=lambda: Place(url=url, token=TOKEN)), Conversations(tmp_path / "kept.db")
        playground = Playground(core, kept, Answers(core, kept))
        try:
            await make_room(playground)
        finally:
            await playground.close()

    with serving(service) as url:
        asyncio.run(run(url))


def working(*, busy: tuple[str, ...] = (), firm: tuple[str, ...] = ()) -> Working:
    return Working(busy=busy, firm=firm, residency={FIRST: Residency.RESIDENT, SECOND: Residency.RESIDENT})


def test_a_model_that_is_answering_goes_on(tmp_path: Path) -> None:
    service = working(busy=(FIRST,))
    made_room(tmp_path, service)
    assert service.asked == [SECOND]
    assert service.residency == {FIRST: Residency.RESIDENT, SECOND: Residency.ASLEEP}


def test_one_that_will_not_sleep_keeps_no_other_awake(tmp_path: Path) -> None:
    service = working(firm=(FIRST,))
    made_room(tmp_path, service)
    assert service.asked == [FIRST, SECOND]
    assert service.residency == {FIRST: Residency.RESIDENT, SECOND: Residency.ASLEEP}


@pytest.mark.parametrize(
    ("service", "words"),
    [
        (working(busy=(FIRST, SECOND)), "Every model in memory is answering"),
        (working(firm=(FIRST, SECOND)), "It is answering"),
        (Working(), "No model is in memory"),
    ],
    ids=["all answer", "all refuse", "none there"],
)
def test_where_none_sleeps_it_is_said(tmp_path: Path, service: Working, words: str) -> None:
    with pytest.raises(PlaygroundError, match=words):
        made_room(tmp_path, service)
