"""What all guests of a page have together, however many names they take, and that the owner is not kept waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from app import guests
from app.guests import GuestLimits
from app.inference.types import GenerateRequest, Queued
from app.playground.errors import TooFast
from spaces_runner.settings import Settings
from tests.support.inference_server import TOKEN as CORE_TOKEN
from tests.support.inference_server import ScriptedService, Step, saying
from tests.support.inference_server import serving as serving_core
from tests.support.web import TOKEN, WebServer, serving

SILENT = "silent"


def script(request: GenerateRequest) -> list[Step]:
    return [Queued(position=1), 60.0] if SILENT in request.prompt.messages[-1].text else saying("Hello.")


@pytest.fixture(scope="module")
def server(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Its guests have two answers at once."""
    with serving_core(ScriptedService(script=script)) as core:
        arguments = ["--core", core, "--guest-answers", "2"]
        said = {"SPACES_RUNNER_CORE_TOKEN": CORE_TOKEN}
        with serving(shared_settings, tmp_path_factory.mktemp("guests"), arguments, said) as started:
            yield started


def test_guests_have_so_many_answers_together_and_the_owner_as_many_as_he_likes(server: WebServer) -> None:
    with ExitStack() as still_open:
        following = []  # an iterator that is dropped closes its stream
        for _ in range(2):
            guest = still_open.enter_context(_visitor(server.url))
            told = still_open.enter_context(guest.stream("GET", _asked(guest, SILENT)))
            following.append(told.iter_lines())
            assert next(following[-1]) == "event: generating"
        with _visitor(server.url) as third:
            said = third.get(_asked(third, "hello")).text
            assert "The models answer as many guests already as may be answered at once. Try again in 10 s." in said
        owner = httpx.Client(base_url=f"{server.url}/studio/", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20)
        with owner:
            assert "Hello." in owner.get(_asked(owner, "hello")).text


@contextmanager
def _visitor(url: str) -> Iterator[httpx.Client]:
    """A browser with a cookie of its own."""
    with httpx.Client(base_url=f"{url}/", timeout=20) as guest:
        guest.get("").raise_for_status()
        yield guest


def _asked(client: httpx.Client, text: str) -> str:
    """Where the answer is told."""
    event = client.post("gradio_api/call/chat", json={"data": ["guanaco", text, None, ""]}).raise_for_status().json()
    return f"gradio_api/call/chat/{event['event_id']}"


def test_messages_of_all_guests_are_counted_together() -> None:
    busy, now = [0], [0.0]
    crowd = guests.crowd(GuestLimits(answers=3, messages=4), lambda: busy[0])
    crowd.clock = lambda: now[0]
    for number in range(2):
        crowd.take(f"guest-{number}")
    with pytest.raises(TooFast, match="Many guests are asking at once") as slow:
        crowd.take("guest-of-another-name")
    assert slow.value.retry_after == pytest.approx(15.0)
    now[0] += 15.0
    busy[0] = 3
    with pytest.raises(TooFast, match="as many guests already"):
        crowd.take("guest-0")
    busy[0] = 2
    crowd.take("guest-0")
