"""A failed Space that is started again from the page with what its error advised: the same Space, but for that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.desk import Desk
from app.forms import FormError
from app.inference.types import Residency
from app.playground.answers import Answers
from app.playground.conversations import Conversations
from app.playground.core import Core, Place
from app.playground.errors import PlaygroundError
from app.playground.playground import Playground
from app.tabs.relaunch import Relaunch
from app.views.remedy import Kind
from spaces_runner import control, looking, secrets
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.store.records import Space
from spaces_runner.types import RefKind, RunOptions, SpaceRef
from tests.support.inference_server import TOKEN, ScriptedService, serving

BROKEN = "---\nsdk: nonsense\n---\n"  # it fails before anything is installed
OPTIONS = RunOptions(share=False, gpu="none", variables={"MODE": "quick"}, app_args=("--theme", "dark mode"))
KEPT = {"API_KEY": "bcdefgh-1234"}


@pytest.fixture
def space_id(settings: Settings) -> str:
    """A Space that was given a name, because its source runs as another Space, too; it has failed."""
    folder = settings.home_dir / "sources" / "broken"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(BROKEN)
    (folder / "app.py").write_text("print('hello')\n")
    options = replace(OPTIONS, secret_names=("API_KEY",))
    request = control.Request(
        ref=SpaceRef(kind=RefKind.DIRECTORY, source=str(folder)), options=options, secrets=KEPT, name="second"
    )
    for each in (replace(request, name=None), request):
        begun = control.start(each, settings).id
        assert looking.wait(begun, settings, timeout=60).error is not None
    return begun


def apply(settings: Settings, kind: Kind, space_id: str, name: str = "", value: str = "", *, core: str = "") -> str:
    """What a click on the remedy does. `core`: where the models are, which only one remedy asks."""

    def find() -> Place:
        assert core, "nobody was to ask for the models"
        return Place(url=core, token=TOKEN)

    async def clicked() -> str:
        conversations = Conversations(settings.home_dir / "conversations.db")
        models = Core(find=find)
        playground = Playground(models, conversations, Answers(models, conversations))
        try:
            return await Relaunch(desk=Desk(settings), playground=playground).apply(kind, space_id, name, value)
        finally:
            await playground.close()

    return asyncio.run(clicked())


def ended(settings: Settings, space_id: str) -> Space:
    """The Space as the store has it, once its new run has ended, as every run of it does."""
    assert looking.wait(space_id, settings, timeout=60).error is not None
    return Store(settings).space(space_id)


def test_another_python_changes_nothing_else(settings: Settings, space_id: str) -> None:
    before, first = Store(settings).space(space_id), Store(settings).run(space_id).id
    assert apply(settings, Kind.PYTHON, space_id, "3.10") == space_id
    after = ended(settings, space_id)
    assert after.name == "second"
    assert after == replace(before, options=replace(before.options, python="3.10"))
    assert Store(settings).run(space_id).id != first
    assert dict(secrets.read(settings, space_id)) == KEPT
    assert len(looking.statuses(settings)) == 2


def test_a_secret_joins_those_there_are(settings: Settings, space_id: str) -> None:
    before = Store(settings).space(space_id)
    assert apply(settings, Kind.SECRET, space_id, "HF_TOKEN", "hf_secret") == space_id
    after = ended(settings, space_id)
    assert after == replace(before, options=replace(before.options, secret_names=("API_KEY", "HF_TOKEN")))
    assert dict(secrets.read(settings, space_id)) == {**KEPT, "HF_TOKEN": "hf_secret"}
    assert len(looking.statuses(settings)) == 2


@pytest.mark.parametrize(("name", "value", "words"), [("HF_TOKEN", "", "no value"), ("NOT A NAME", "x", "cannot be")])
def test_a_secret_that_cannot_be_given_starts_nothing(
    settings: Settings, space_id: str, name: str, value: str, words: str
) -> None:
    before = Store(settings).run(space_id)
    with pytest.raises(FormError, match=words):
        apply(settings, Kind.SECRET, space_id, name, value)
    assert Store(settings).run(space_id) == before


def test_room_is_made_by_the_models_that_are_in_memory(settings: Settings, space_id: str) -> None:
    before, first = Store(settings).space(space_id), Store(settings).run(space_id).id
    models = ScriptedService(residency={"alpaca": Residency.RESIDENT, "llava": Residency.ASLEEP})
    with serving(models) as core:
        assert apply(settings, Kind.ROOM, space_id, core=core) == space_id
        assert models.residency == {"alpaca": Residency.ASLEEP, "llava": Residency.ASLEEP}
        assert ended(settings, space_id) == before
        assert Store(settings).run(space_id).id != first
        with pytest.raises(PlaygroundError, match="No model is in memory"):
            apply(settings, Kind.ROOM, space_id, core=core)
