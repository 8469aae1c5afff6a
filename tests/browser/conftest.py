"""One server over a core that follows a script, for all browser tests of chats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from app.inference import catalog
from app.inference.catalog import Preset
from app.inference.types import GenerateRequest, Queued, Started
from spaces_runner.settings import Settings
from tests.browser.pages import AT_LENGTH, SLOW_MS, SLOWLY, come
from tests.support.home import make_settings, open_directory
from tests.support.inference_server import TOKEN as CORE_TOKEN
from tests.support.inference_server import ScriptedService, Step, delta, finished, saying
from tests.support.inference_server import serving as serving_core
from tests.support.web import WebServer, serving


def script(request: GenerateRequest) -> list[Step]:
    """Says what it was asked, and how many pictures there were."""
    text = request.prompt.messages[-1].text
    if SLOWLY in text:
        words: list[Step] = [step for number in range(600) for step in (delta(f"word{number} "), 0.1)]
        return [Queued(position=2), 1.5, Started(prompt_tokens=7, reused_tokens=0, seed=1), *words, finished(600)]
    if AT_LENGTH in text:
        return saying(*(f"word{number} " for number in range(8)))
    pictures = f" and {len(request.prompt.images)} picture" if request.prompt.images else ""
    return saying("You ", "said ", f"**{text}**{pictures}.")


@pytest.fixture(scope="package")
def core() -> Iterator[tuple[str, ScriptedService]]:
    service = ScriptedService(script=script, offered=catalog.read(Preset.DEMO))
    with serving_core(service) as address:
        yield address, service


@pytest.fixture
def service(core: tuple[str, ScriptedService]) -> ScriptedService:
    return core[1]


@pytest.fixture(scope="package")
def chat_settings(package_cache: Path) -> Settings:
    return make_settings(open_directory("sr-chat-"), package_cache)


@pytest.fixture(scope="package")
def server(
    chat_settings: Settings, core: tuple[str, ScriptedService], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    said = {"SPACES_RUNNER_CORE_TOKEN": CORE_TOKEN}
    with serving(chat_settings, tmp_path_factory.mktemp("chat"), ["--core", core[0]], said) as started:
        yield started


@pytest.fixture
def context(browser: Browser, server: WebServer) -> Iterator[BrowserContext]:
    opened = browser.new_context(
        viewport={"width": 1280, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    opened.set_default_timeout(SLOW_MS)
    yield opened
    opened.close()


@pytest.fixture
def guest(context: BrowserContext, server: WebServer) -> Page:
    return come(context, server.url)
