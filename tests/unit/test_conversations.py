"""Conversations in SQLite: each user's own, kept through anything, searched and exported."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from app.inference.types import Role
from app.playground.conversations import MOST_OF_A_GUEST, OWNER, Conversations
from app.playground.errors import NotFound
from app.playground.export import as_json, as_markdown
from app.playground.talk import Answer, State, Turn, title_of

GUEST = "guest-1"
PNG = b"\x89PNG\r\n\x1a\n picture"


def user(text: str, *pictures: bytes) -> Turn:
    return Turn(role=Role.USER, text=text, pictures=pictures)


def answer(text: str, state: State = State.DONE, **more: object) -> Turn:
    known = Answer(model="Guanaco 7B", state=state, **more)  # type: ignore[arg-type]  # fields of an answer by name
    return Turn(role=Role.ASSISTANT, text=text, answer=known)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Conversations]:
    ticks = count(1_000_000)
    opened = Conversations(tmp_path / "page" / "conversations.db", clock=lambda: float(next(ticks)))
    yield opened
    opened.close()


def test_what_was_said_comes_back(kept: Conversations) -> None:
    begun = kept.begin(OWNER, "guanaco", "guanaco-7b")
    said = (user("What is this?\nLook.", PNG, b"\xff\xd8 second"), answer("A picture.", generated_tokens=3, demo=True))
    kept.extend(OWNER, begun.id, 0, said)
    found = kept.get(OWNER, begun.id)
    assert found.turns == said
    assert (found.title, found.room, found.model) == ("What is this?", "guanaco", "guanaco-7b")


def test_the_files_are_private(kept: Conversations) -> None:
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.path.parent.stat().st_mode) == 0o700


def test_nobody_reaches_anothers(kept: Conversations) -> None:
    mine = kept.begin(OWNER, "guanaco", "guanaco-7b")
    kept.extend(OWNER, mine.id, 0, (user("secret"),))
    assert kept.list(GUEST, "guanaco", "secret") == ()
    assert kept.latest(GUEST, "guanaco") is None
    for action in (
        lambda: kept.get(GUEST, mine.id),
        lambda: kept.open(GUEST, mine.id),
        lambda: kept.rename(GUEST, mine.id, "x"),
        lambda: kept.delete(GUEST, mine.id),
        lambda: kept.extend(GUEST, mine.id, 0, ()),
        lambda: kept.set_model(GUEST, mine.id, "x", ""),
    ):
        with pytest.raises(NotFound):
            action()
    assert kept.get(OWNER, mine.id).turns == (user("secret"),)


def test_turns_are_taken_back_and_replaced_with_their_pictures(kept: Conversations) -> None:
    begun = kept.begin(OWNER, "llava", "llava-1.5-7b")
    kept.extend(OWNER, begun.id, 0, (user("one", PNG), answer("first"), user("two", PNG), answer("second")))
    assert kept.extend(OWNER, begun.id, 2, (user("three"),)).turns == (user("one", PNG), answer("first"), user("three"))


def test_an_answer_grows(kept: Conversations) -> None:
    begun = kept.begin(OWNER, "guanaco", "guanaco-7b")
    kept.extend(OWNER, begun.id, 0, (user("hi"), answer("", State.RUNNING)))
    kept.save_answer(begun.id, 1, answer("Hello", State.DONE))
    assert kept.get(OWNER, begun.id).turns[1] == answer("Hello")
    kept.delete(OWNER, begun.id)
    kept.save_answer(begun.id, 1, answer("too late"))
    with pytest.raises(NotFound):
        kept.get(OWNER, begun.id)


def test_what_was_being_written_when_the_server_ended_is_interrupted(kept: Conversations) -> None:
    begun = kept.begin(OWNER, "guanaco", "guanaco-7b")
    kept.extend(OWNER, begun.id, 0, (user("is it running"), answer("Half an ans", State.RUNNING), answer("done")))
    again = Conversations(kept.path)
    turns = again.get(OWNER, begun.id).turns
    assert turns[1] == answer("Half an ans", State.INTERRUPTED)
    assert turns[2] == answer("done")
    again.close()


def test_the_newest_is_first_and_the_last_opened_is_the_latest(kept: Conversations) -> None:
    ids = []
    for text in ("first", "second", "third"):
        ids.append(kept.begin(OWNER, "guanaco", "m").id)
        kept.extend(OWNER, ids[-1], 0, (user(text),))
    kept.begin(OWNER, "mpt", "m")
    assert [heading.title for heading in kept.list(OWNER, "guanaco")] == ["third", "second", "first"]
    kept.open(OWNER, ids[0])
    latest = kept.latest(OWNER, "guanaco")
    assert latest is not None and latest.id == ids[0]


def test_an_empty_one_is_not_listed_and_gives_way_to_the_next(kept: Conversations) -> None:
    first = kept.begin(OWNER, "guanaco", "m")
    second = kept.begin(OWNER, "guanaco", "m")
    assert kept.list(OWNER, "guanaco") == ()
    latest = kept.latest(OWNER, "guanaco")
    assert latest is not None and latest.id == second.id
    with pytest.raises(NotFound):
        kept.get(OWNER, first.id)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("capital", ["France"]),
        ("paris CAPITAL", ["France"]),
        ("100%", ["Sure"]),
        ("1_0", []),
        ("'; drop table turns", []),
        ("nowhere", []),
        ("\ud800", []),
        ("", ["Sure", "France"]),
    ],
)
def test_search_looks_into_every_message(kept: Conversations, words: str, found: list[str]) -> None:
    for title, text in (("France", "The capital is Paris."), ("Sure", "100% sure")):
        begun = kept.begin(OWNER, "guanaco", "m")
        kept.extend(OWNER, begun.id, 0, (user(title), answer(text)))
    assert [heading.title for heading in kept.list(OWNER, "guanaco", words)] == found


def test_a_name_is_one_short_line(kept: Conversations) -> None:
    begun = kept.begin(OWNER, "guanaco", "m")
    kept.extend(OWNER, begun.id, 0, (user("old"),))
    kept.rename(OWNER, begun.id, "  new   name\nmore")
    assert kept.get(OWNER, begun.id).title == "new name"
    kept.rename(OWNER, begun.id, " \n ")
    assert kept.get(OWNER, begun.id).title == "new name"
    assert len(title_of("x" * 500)) == 60


def test_a_lone_surrogate_does_no_harm(kept: Conversations) -> None:
    begun = kept.begin(OWNER, "guanaco", "m")
    assert kept.extend(OWNER, begun.id, 0, (user("half \ud83d"),)).turns[0].text == "half ?"


def test_a_guest_keeps_so_many_and_so_long(tmp_path: Path) -> None:
    now = [0.0]
    kept = Conversations(tmp_path / "db", clock=lambda: now[0])
    for number in range(MOST_OF_A_GUEST + 5):
        now[0] += 1
        begun = kept.begin(GUEST, "guanaco", "m")
        kept.extend(GUEST, begun.id, 0, (user(f"number {number}"),))
    mine = kept.begin(OWNER, "guanaco", "m")
    assert len(kept.list(GUEST, "guanaco")) == MOST_OF_A_GUEST
    assert kept.list(GUEST, "guanaco")[-1].title == "number 5"
    kept.close()
    now[0] += 31 * 86400
    later = Conversations(tmp_path / "db", clock=lambda: now[0])
    assert later.list(GUEST, "guanaco") == ()
    assert later.get(OWNER, mine.id).id == mine.id
    later.close()


def test_export(kept: Conversations) -> None:
    begun = kept.begin(OWNER, "llava", "llava-1.5-7b")
    kept.set_model(OWNER, begun.id, "llava-1.5-7b", "Be brief.")
    turns = (user("Look: *this*", PNG), answer("A\n\n* list", State.STOPPED, generated_tokens=4, demo=True))
    conversation = kept.extend(OWNER, begun.id, 0, turns)
    document = json.loads(as_json(conversation))
    assert document["messages"][0]["images"][0].startswith("data:image/png;base64,")
    assert document["messages"][1] | {"tokens": None} == {
        "role": "assistant", "content": "A\n\n* list", "model": "Guanaco 7B", "state": "stopped", "demo": True,
        "tokens": None, "tokens_per_s": 0.0,
    }  # fmt: skip
    text = as_markdown(conversation)
    assert text.startswith("# Look: *this*\n\n")
    assert "## System\n\nBe brief." in text
    assert "## You\n\n*1 picture*\n\nLook: *this*" in text
    assert "## Guanaco 7B (stopped, demo weights)\n\nA\n\n* list" in text


def test_speeds_are_kept_by_model_weights_and_device(tmp_path: Path) -> None:
    devices = {"cpu": "CPU", "cuda:0": "NVIDIA H100"}
    kept = Conversations(tmp_path / "speeds.db", device=lambda name: devices.get(name, name))
    begun = kept.begin(GUEST, "guanaco", "m")
    kept.extend(GUEST, begun.id, 0, (user("hello"), answer("", State.RUNNING)))

    def said(state: State, device: str, rate: float, **more: Any) -> None:
        fields = {"generated_tokens": 40, **more}
        kept.save_answer(begun.id, 1, answer("hello", state, device=device, tokens_per_s=rate, **fields))

    for rate in (20.0, 30.0):
        said(State.DONE, "cpu", rate)
    said(State.STOPPED, "cuda:0", 60.0)
    said(State.RUNNING, "cpu", 1.0)
    said(State.FAILED, "cpu", 1.0)
    said(State.DONE, "cpu", 900.0, generated_tokens=2)  # too short to tell
    said(State.DONE, "cpu", 500.0, demo=True)
    kept.close()
    later = Conversations(tmp_path / "speeds.db")
    assert [(one.device, one.rate, one.answers) for one in later.speeds("Guanaco 7B", demo=False)] == [
        ("NVIDIA H100", 60.0, 1),
        ("CPU", 25.0, 2),
    ]
    assert [one.rate for one in later.speeds("Guanaco 7B", demo=True)] == [500.0]
    assert later.speeds("another", demo=False) == ()
    later.close()
