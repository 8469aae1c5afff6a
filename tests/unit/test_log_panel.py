"""The clock of the logs, what it reads and tells; and the look at all Spaces that pages share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from app import downloads
from app.desk import PIECE_LINES, Desk
from app.machine.cards import Cards
from app.machine.machine import Machine
from app.tabs.logs import LATELY_S, QUICKEST_S, SLOWEST_S, Followers, Logs, interval
from app.tabs.overview import FRESH_S, Overview
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import RefKind, RunOptions, SpaceRef, SpaceStatus, Stage

SKIP = gr.skip()
ALL_SKIPPED = (SKIP, SKIP, SKIP)


def test_the_more_pages_follow_the_rarer_each_looks() -> None:
    assert interval(0) == interval(1) == QUICKEST_S
    assert QUICKEST_S < interval(20) < 0.4  # half a second behind is the most, on the way and drawn
    assert interval(1000) == SLOWEST_S


def test_a_page_that_looks_no_more_does_not_count() -> None:
    now = [0.0]
    followers = Followers(clock=lambda: now[0])
    for page in ("a", "b", "a"):
        followers.looks(page)
    assert followers.count() == 2
    now[0] = LATELY_S
    followers.looks("b")
    now[0] += 0.1
    assert followers.count() == 1


@dataclass(slots=True)
class Page:
    """What one page is told of the logs of `chosen`; `request` is all that a handler reads of a real one."""

    logs: Logs
    chosen: str | None
    words: str = ""
    shown: dict[str, str] = field(default_factory=dict)
    session_hash: str = "page"

    def look(self) -> tuple[Any, ...]:
        request: Any = self
        told = self.logs.follow(self.chosen, self.shown, self.words, request)
        if told[-1] != SKIP:
            self.shown = told[-1]
        return told


@pytest.fixture
def run_log(settings: Settings) -> Path:
    """Of a Space that the store knows as `one`."""
    Store(settings).admit(SpaceRef(kind=RefKind.DIRECTORY, source="/one"), RunOptions(), "one")
    path = settings.space("one").run_log
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def page(settings: Settings) -> Page:
    unused: Any = None  # the components, to which only the wiring looks
    return Page(logs=Logs(desk=Desk(settings), panel=unused, chosen=unused), chosen="one")


def test_a_log_is_told_when_it_has_grown_and_only_then(page: Page, run_log: Path) -> None:
    run, build, _ = page.look()
    assert "Nothing yet." in run and "nothing to build" in build
    assert page.look() == ALL_SKIPPED
    run_log.write_text("first <b>line</b>\n")
    run, build, _ = page.look()
    assert "first &lt;b&gt;line&lt;/b&gt;" in run and build == SKIP
    assert page.look() == ALL_SKIPPED
    with run_log.open("a") as log:
        log.write("second line\n")
    run, _, _ = page.look()
    assert "first" in run and "second line" in run
    assert page.logs.every() == QUICKEST_S


def test_words_narrow_a_log_at_once(page: Page, run_log: Path) -> None:
    run_log.write_text("first line\nsecond line\n")
    page.look()
    page.words = "SECOND"
    run, _, _ = page.look()
    assert "second line" in run and "first" not in run


def test_a_log_that_is_begun_anew_is_told_anew(page: Page, run_log: Path) -> None:
    run_log.write_text("of a run\n")
    page.look()
    run_log.unlink()
    run_log.write_text("another.\n")
    run, _, _ = page.look()
    assert "another." in run and "of a run" not in run


@pytest.mark.parametrize("chosen", [None, "nowhere"])
def test_where_there_is_no_space_nothing_is_told(page: Page, chosen: str | None) -> None:
    page.chosen = chosen
    assert page.look() == ALL_SKIPPED


def test_a_whole_log_is_saved_with_all_that_was_rotated(page: Page, run_log: Path) -> None:
    app = FastAPI()
    app.include_router(downloads.logs(page.logs.desk))
    lines = [f"line {number}\n" for number in range(2 * PIECE_LINES + 1)]
    half = len(lines) // 2
    run_log.with_name("run.log.1").write_text("".join(lines[:half]))
    run_log.write_text("".join(lines[half:]))

    async def as_owner(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {"role": "owner"}}, receive, send)

    found = TestClient(as_owner).get(page.logs.saved("run", "one"))
    assert found.text == "".join(lines)
    assert found.headers["content-disposition"] == 'attachment; filename="one-run.log"'
    for wrong in ("/logs/one/other.log", "/logs/two/run.log"):
        assert TestClient(as_owner).get(wrong).status_code == 404
    assert TestClient(app).get("/logs/one/run.log").status_code == 403
    assert page.logs.saved("build", None) == ""


@dataclass(slots=True)
class CountedDesk:
    """Says how often all Spaces were looked at."""

    looks: int = 0

    def spaces(self) -> tuple[SpaceStatus, ...]:
        self.looks += 1
        return (SpaceStatus(id=str(self.looks), space="a/b", revision=None, stage=Stage.STOPPED),)


def test_pages_share_a_look_but_who_did_something_sees_it() -> None:
    now, counted = [100.0], CountedDesk()
    desk: Any = counted
    overview = Overview(desk=desk, machine=Machine(cards=Cards(lambda: None)), clock=lambda: now[0])
    first = overview.look()
    now[0] += FRESH_S
    assert overview.look() is first
    assert overview.look(fresh=True).statuses == (replace(first.statuses[0], id="2"),)
    now[0] += 2 * FRESH_S
    assert overview.look().statuses[0].id == "3"
    assert counted.looks == 3
