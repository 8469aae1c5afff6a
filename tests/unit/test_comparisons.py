"""Comparisons as two conversations that are kept, searched and forgotten as one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.inference.types import Role
from app.playground.answers import Answers
from app.playground.conversations import Conversations
from app.playground.core import Core, Place
from app.playground.errors import NotFound
from app.playground.playground import Playground
from app.playground.talk import Turn
from app.tabs.chat.comparisons import Comparisons

MODELS = ("guanaco-7b", "llava-1.5-7b")


@pytest.fixture
def playground(tmp_path: Path) -> Iterator[Playground]:
    """Whose core is asked for nothing."""
    kept = Conversations(tmp_path / "conversations.db")
    core = Core(find=lambda: Place(url="http://127.0.0.1:9", token=""))
    yield Playground(core, kept, Answers(core, kept))
    kept.close()


@pytest.fixture
def comparisons(playground: Playground) -> Comparisons:
    return Comparisons(playground)


def compared(comparisons: Comparisons, user: str, left: str, right: str) -> str:
    """One in which `left` and `right` were said."""
    begun = comparisons.begin(user, MODELS)
    for side, text in zip(comparisons.sides(user, begun), (left, right), strict=True):
        comparisons.playground.conversations.extend(user, side.id, 0, [Turn(role=Role.USER, text=text)])
    return begun


def test_words_are_found_on_either_side(comparisons: Comparisons) -> None:
    first = compared(comparisons, "anna", "a red fox", "a blue bird")
    second = compared(comparisons, "anna", "a red ring", "a green tree")
    compared(comparisons, "bert", "a red house", "a blue door")

    def found(words: str) -> list[str]:
        return [each.id for each in comparisons.list("anna", words)]

    assert found("") == found("red") == [second, first]
    assert found("blue") == [first]
    assert found("green tree") == [second]
    assert found("red bird") == []  # of both sides together
    assert comparisons.latest("anna") == second
    comparisons.open("anna", first)
    assert comparisons.latest("anna") == first


def test_both_sides_go_together_and_are_nobody_elses(comparisons: Comparisons, playground: Playground) -> None:
    begun = compared(comparisons, "anna", "one", "two")
    ids = [side.id for side in comparisons.sides("anna", begun)]
    with pytest.raises(NotFound):
        comparisons.sides("bert", begun)
    asyncio.run(comparisons.delete("anna", begun))
    for side in ids:
        with pytest.raises(NotFound):
            playground.conversations.get("anna", side)
    assert comparisons.latest("anna") == ""


def test_a_right_side_that_is_gone_is_begun_anew(comparisons: Comparisons, playground: Playground) -> None:
    begun = compared(comparisons, "anna", "one", "two")
    playground.conversations.delete("anna", comparisons.sides("anna", begun)[1].id)
    left, right = comparisons.sides("anna", begun)
    assert (left.turns[0].text, right.turns, right.id) == ("one", (), comparisons.sides("anna", begun)[1].id)
