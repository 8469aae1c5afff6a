"""The page's own public link: had, lost, had again, and never in the way of the page."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from app.hosts import Hosts
from app.share import PageLink
from spaces_runner.settings import Settings
from tests.support.inference_server import listening
from tests.support.share import Share
from tests.support.shims import until

PATIENCE_S = 40.0


class Said:
    """The lines that the link said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)

    def beginning(self, start: str) -> list[str]:
        return [line for line in self.lines if line.startswith(start)]


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def link(settings: Settings, share: Share, said: Said) -> Iterator[PageLink]:
    """A link to a port at which a page says that it is well, tried for again at once."""
    with listening(well) as address:
        made = PageLink(
            settings=share.settings(settings),
            port=int(address.rpartition(":")[2]),
            token="page-token",
            hosts=Hosts(),
            say=said,
            retry_s=(0.1,),
            look_s=0.2,
            again_s=0.2,
            answer_s=1.0,
        )
        yield made
        made.stop()


async def well(scope: Scope, receive: Receive, send: Send) -> None:
    """As the page's own /healthz."""
    await JSONResponse({"status": "ok"})(scope, receive, send)


def clients() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "--server_addr" in child.cmdline()]


def answers_to(link: PageLink, url: str) -> bool:
    """Whether the page's gate knows the host of a link. The stand-in's are loopback ones, which it always knows."""
    return urlsplit(url).netloc in link.hosts._https


def test_a_link_is_said_with_the_token_once_the_server_is_back(link: PageLink, share: Share, said: Said) -> None:
    share.down = True
    link.start()
    until(lambda: len(said.beginning("No public link: ")) >= 2, PATIENCE_S)
    assert "local link" in said.lines[0]
    assert link.url is None and "local link" in link.state.problem
    share.down = False
    until(lambda: bool(said.beginning("Public link: ")), PATIENCE_S)
    assert said.lines[-1] == f"Public link: {link.url}/?token=page-token"


def test_a_link_that_is_lost_is_opened_anew(link: PageLink, said: Said) -> None:
    link.start()
    until(lambda: bool(said.beginning("Public link: ")), PATIENCE_S)
    first = str(link.url)
    assert answers_to(link, first)
    [client] = clients()
    client.kill()
    until(lambda: len(said.beginning("Public link: ")) == 2, PATIENCE_S)
    second = str(link.url)
    assert said.lines[1] == "The public link was lost; opening a new one."
    assert first != second
    assert answers_to(link, second) and not answers_to(link, first)


def test_a_link_that_was_stopped_is_not_opened_again(link: PageLink, said: Said) -> None:
    link.start()
    until(lambda: bool(said.beginning("Public link: ")), PATIENCE_S)
    link.stop()
    until(lambda: not clients(), PATIENCE_S)
    assert link.url is None
    assert len(said.lines) == 1, "an end that was asked for is no loss"


def test_its_age_and_its_last_answer_are_known(link: PageLink) -> None:
    begun = time.time()
    link.start()
    until(lambda: link.state.answered is not None, PATIENCE_S)
    state = link.state
    assert state.url and state.since and state.answered and not state.problem
    assert begun <= state.since <= state.answered <= time.time()
    until(lambda: (link.state.answered or 0) > (state.answered or 0), PATIENCE_S)
    assert link.state.since == state.since, "looking at it makes it no younger"


def test_a_link_that_answers_no_more_is_opened_anew(link: PageLink, said: Said) -> None:
    link.start()
    until(lambda: link.state.answered is not None, PATIENCE_S)
    first = link.url
    [client] = clients()
    client.send_signal(signal.SIGSTOP)  # it lives, and passes nothing on
    until(lambda: len(said.beginning("Public link: ")) == 2, PATIENCE_S)
    assert link.url and link.url != first
    assert said.lines[1] == "The public link was lost; opening a new one."


def test_without_any_connection_the_link_is_waited_for(link: PageLink, share: Share, said: Said) -> None:
    link.start()
    until(lambda: link.state.answered is not None, PATIENCE_S)
    first = link.url
    share.down = True
    [client] = clients()
    client.send_signal(signal.SIGSTOP)
    until(lambda: share.served["/v3/tunnel-request"] >= 3, PATIENCE_S)
    assert link.state.problem == "The public link does not answer." and link.url == first
    client.send_signal(signal.SIGCONT)
    until(lambda: not link.state.problem, PATIENCE_S)
    assert link.url == first and len(said.lines) == 1
