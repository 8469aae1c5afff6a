"""The chat tabs in a browser, over a core that follows a script: what a guest and the owner do with them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.inference.types import Queued
from spaces_runner import core as core_service
from spaces_runner.settings import Settings
from tests.browser.pages import SLOW_MS, SLOWLY, answers, come, expect_answer, expect_done, send, tab, until
from tests.support.inference_server import ScriptedService
from tests.support.web import TOKEN, WebServer, serving

pytestmark = pytest.mark.browser

LOAD_MS = 180_000  # a core that starts, and a model that is loaded


def test_a_guest_chats_and_finds_it_again(guest: Page, service: ScriptedService) -> None:
    send(guest, "good day")
    expect_answer(guest, "You said good day.")
    expect_done(guest)
    expect(answers(guest).last.locator(".sr-foot")).to_have_text(
        "3 tokens · 4.0 tokens/s · 7 tokens read · CPU · demo weights"
    )
    expect(guest.locator("#guanaco-box textarea")).to_have_value("")
    asked = service.requests[-1]
    assert asked.client.startswith("owner/guest-") and asked.sampling.max_tokens == 64  # the small weights' own
    guest.reload()
    expect_answer(guest, "You said good day.")
    send(guest, "and again")
    expect_answer(guest, "You said and again.")
    assert service.requests[-1].prompt.messages[0].text == "good day"


def test_retry_edit_undo_and_copy(guest: Page, service: ScriptedService) -> None:
    send(guest, "first")
    expect_done(guest)
    before = len(service.requests)
    chat = guest.locator("#guanaco-chat")
    chat.get_by_role("button", name="Retry").click()
    guest.wait_for_timeout(500)
    expect_done(guest)
    assert len(service.requests) == before + 1
    assert service.requests[-1].prompt.messages == service.requests[-2].prompt.messages

    chat.get_by_role("button", name="Copy message").last.click()
    guest.wait_for_timeout(300)
    assert guest.evaluate("navigator.clipboard.readText()") == "You said **first**."

    chat.get_by_role("button", name="Edit").click()
    chat.locator("textarea").fill("second")
    chat.get_by_role("button", name="Submit").click()
    expect_answer(guest, "You said second.")
    assert [message.text for message in service.requests[-1].prompt.messages] == ["second"]

    expect_done(guest)
    chat.get_by_role("button", name="Undo").click()
    expect(guest.locator("#guanaco-box textarea")).to_have_value("second")
    expect(answers(guest)).to_have_count(0)


def test_an_example_is_asked(guest: Page) -> None:
    guest.get_by_text("What is the capital of France?").click()
    expect_answer(guest, "You said What is the capital of France?")


def test_stop_frees_the_core_and_keeps_what_was_written(guest: Page, service: ScriptedService) -> None:
    send(guest, SLOWLY)
    expect_answer(guest, "2 before you")
    expect_answer(guest, "word3")
    asked = service.requests[-1].id
    guest.locator("#guanaco-box .stop-button").click()
    until(lambda: asked in service.cancelled, 20)  # left alone, the answer would go on for longer
    expect_answer(guest, re.compile(r"Stopped · \d+ tokens · [\d.]+ tokens/s · 7 tokens read · CPU · demo weights"))
    expect_answer(guest, "word3")
    send(guest, "still there")
    expect_answer(guest, "You said still there.")


def test_a_closed_page_frees_the_core_and_loses_nothing(
    context: BrowserContext, guest: Page, server: WebServer, service: ScriptedService
) -> None:
    send(guest, SLOWLY)
    expect_answer(guest, "word3")
    asked = service.requests[-1].id
    guest.close()
    until(lambda: asked in service.cancelled, 10)
    again = come(context, server.url)
    expect_answer(again, "word3")
    expect_answer(again, "Interrupted")


def test_conversations_are_listed_searched_renamed_saved_and_deleted(guest: Page) -> None:
    for text in ("about apples", "about pears"):
        send(guest, text)
        expect_answer(guest, f"You said {text}.")
        expect_done(guest)
        guest.locator("#guanaco-new").click()
        expect(answers(guest)).to_have_count(0)
    talks = guest.locator("#guanaco-talks li")
    expect(talks).to_have_count(2)
    guest.locator("#guanaco-search").get_by_role("textbox").fill("apples")
    expect(talks).to_have_count(1)
    talks.get_by_role("button", name="about apples").click()
    expect_answer(guest, "You said about apples.")
    guest.once("dialog", lambda dialog: dialog.accept("Fruit"))
    guest.get_by_role("button", name="Rename about apples").click()
    expect(talks.get_by_role("button", name="Fruit", exact=True)).to_be_visible()
    with guest.expect_download() as saved:
        guest.get_by_role("link", name="Save Fruit as JSON").click()
    document = json.loads(Path(saved.value.path()).read_text())
    assert [message["content"] for message in document["messages"]] == ["about apples", "You said **about apples**."]
    with guest.expect_download() as saved:
        guest.get_by_role("link", name="Save Fruit as Markdown").click()
    assert Path(saved.value.path()).read_text().startswith("# Fruit\n")
    guest.once("dialog", lambda dialog: dialog.accept())
    guest.get_by_role("button", name="Delete Fruit").click()
    expect(answers(guest)).to_have_count(0)
    expect(talks).to_have_count(0)


def test_users_do_not_see_each_other(browser: Browser, guest: Page, server: WebServer) -> None:
    send(guest, "my secret")
    expect_done(guest)
    href = guest.get_by_role("link", name="as JSON").get_attribute("href")
    others = [server.url, server.link]
    for url in others:
        other = browser.new_context()
        try:
            page = come(other, url)
            assert "my secret" not in page.content()
            answer = page.request.get(f"{server.url}{href}")
            assert answer.status == 404
        finally:
            other.close()


def test_the_owner_sees_the_same_in_two_browsers(browser: Browser, context: BrowserContext, server: WebServer) -> None:
    page = come(context, server.link)
    send(page, f"owner {SLOWLY}")
    expect_answer(page, "word1")
    second = browser.new_context()
    try:
        other = come(second, server.link)
        expect_answer(other, "word9")
        other.locator("#guanaco-box .stop-button").click()
        expect_answer(page, "Stopped")
        expect_answer(other, "Stopped")
    finally:
        second.close()


def test_alpaca_has_instruction_input_and_output(guest: Page, service: ScriptedService) -> None:
    tab(guest, "Alpaca-LoRA").click()
    guest.get_by_label("Instruction", exact=True).fill("Translate.")
    guest.locator("#alpaca-input textarea").fill("dog")
    guest.locator("#alpaca-submit").click()
    expect(guest.locator("#alpaca-output textarea")).to_have_value("You said **dog**.", timeout=SLOW_MS)
    expect(guest.locator("#alpaca-foot")).to_contain_text("demo weights")
    assert "### Input:\ndog" in service.requests[-1].prompt.text
    guest.reload()
    tab(guest, "Alpaca-LoRA").click()
    expect(guest.locator("#alpaca-output textarea")).to_have_value("You said **dog**.", timeout=SLOW_MS)
    expect(guest.get_by_label("Instruction", exact=True)).to_have_value("Translate.")


def test_mpt_chats_follows_instructions_and_goes_on_with_a_story(guest: Page, service: ScriptedService) -> None:
    tab(guest, "MPT-7B").click()
    send(guest, "to chat", "mpt-chat")
    expect_answer(guest, "You said to chat.", "mpt-chat")
    tab(guest, "Instruct").click()
    for text in ("one", "two"):
        send(guest, text, "mpt-instruct")
        expect_answer(guest, f"You said {text}.", "mpt-instruct")
        expect_done(guest, "mpt-instruct")
    assert [message.text for message in service.requests[-1].prompt.messages] == ["two"]
    tab(guest, "StoryWriter").click()
    story = guest.locator("#storywriter-text textarea")
    story.fill("Once. ")
    guest.get_by_role("button", name="Go on").click()
    expect(story).to_have_value("Once. You said **Once. **.", timeout=SLOW_MS)
    expect(guest.locator("#storywriter-foot")).to_contain_text("tokens/s")
    guest.get_by_role("button", name="Take it back").click()
    expect(story).to_have_value("Once. ")


def test_llava_is_shown_a_picture(guest: Page, service: ScriptedService, tmp_path: Path) -> None:
    Image.new("RGB", (48, 48), (200, 30, 30)).save(tmp_path / "red.png")
    tab(guest, "LLaVA").click()
    guest.locator("#llava-box input[type=file]").set_input_files(tmp_path / "red.png")
    expect(guest.locator("#llava-box img")).to_be_visible()
    send(guest, "Which colour?", "llava")
    expect_answer(guest, "You said Which colour? and 1 picture.", "llava")
    assert service.requests[-1].prompt.images[0] == (tmp_path / "red.png").read_bytes()
    guest.reload()
    tab(guest, "LLaVA").click()
    picture = guest.locator("#llava-chat img").first
    expect(picture).to_be_visible(timeout=SLOW_MS)
    assert picture.evaluate("image => image.naturalWidth") == 48


def test_what_cannot_be_done_is_a_sentence(guest: Page, tmp_path: Path) -> None:
    tab(guest, "LLaVA").click()
    (tmp_path / "no.png").write_text("root:x:0:0")
    guest.locator("#llava-box input[type=file]").set_input_files(tmp_path / "no.png")
    guest.wait_for_timeout(1000)
    send(guest, "look", "llava")
    expect(guest.locator("#llava-problem").get_by_role("alert")).to_contain_text("That file is no picture.")


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, server: WebServer) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    try:
        page = come(context, server.url)
        send(page, "a_word_that_is_very_long_" * 12)
        expect_done(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    finally:
        context.close()


def test_without_a_core_the_page_says_so(
    browser: Browser, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serving(settings, tmp_path_factory.mktemp("away"), ["--core", "http://127.0.0.1:9"]) as away:
        context = browser.new_context()
        try:
            page = context.new_page()
            page.goto(away.link)
            tab(page, "Guanaco").click(timeout=SLOW_MS)
            notice = page.locator(".sr-notice").locator("visible=true").get_by_role("alert")
            expect(notice).to_contain_text("The models are not there.", timeout=SLOW_MS)
            expect(notice).to_contain_text("spaces-runner core logs")
            send(page, "anybody?")
            expect_answer(page, "does not answer")
        finally:
            context.close()


@pytest.mark.parametrize("who", ["guest", "owner"])
def test_a_program_chats(server: WebServer, service: ScriptedService, who: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"} if who == "owner" else None
    url = f"{server.url}/studio/" if who == "owner" else f"{server.url}/"
    client = Client(url, headers=headers, verbose=False)
    said = client.predict("guanaco-7b", "hello", [{"role": "user", "content": "before"}], api_name="/chat")
    assert said == "You said **hello**."
    assert [message.text for message in service.requests[-1].prompt.messages] == ["before", "hello"]
    with pytest.raises(Exception, match="There is no model 'bogus'"):
        client.predict("bogus", "hello", api_name="/chat")


def test_a_guests_programs_have_two_answers_at_once(server: WebServer, service: ScriptedService) -> None:
    guest = Client(f"{server.url}/", verbose=False)
    owner = Client(f"{server.url}/studio/", headers={"Authorization": f"Bearer {TOKEN}"}, verbose=False)
    before = len(service.requests)
    jobs = [guest.submit("guanaco-7b", f"{SLOWLY} {number}", api_name="/chat") for number in range(2)]
    until(lambda: len(service.requests) == before + 2, 20)
    asked = service.requests[before:]
    with pytest.raises(Exception, match="Your earlier messages are still being answered"):
        guest.predict("guanaco-7b", "a third", api_name="/chat")
    theirs = [owner.submit("guanaco-7b", f"{SLOWLY} {number}", api_name="/chat") for number in range(3)]
    until(lambda: len(service.requests) == before + 5, 20)  # the owner has as many as he likes
    for job in (*jobs, *theirs):
        job.cancel()
    until(lambda: all(request.id in service.cancelled for request in asked), 20)
    assert guest.predict("guanaco-7b", "a fourth", api_name="/chat") == "You said **a fourth**."


def test_a_program_that_leaves_is_noticed_before_the_first_word(server: WebServer, service: ScriptedService) -> None:
    """While its request waits, so that nothing comes that could not be delivered."""
    scripted, before = service.script, len(service.requests)
    service.script = lambda request: [Queued(position=2), 60.0]
    try:
        with httpx.Client(base_url=f"{server.url}/gradio_api/call/chat", timeout=SLOW_MS / 1000) as program:
            event = program.post("", json={"data": ["guanaco-7b", "hello", None, ""]}).json()["event_id"]
            with program.stream("GET", f"/{event}") as told:
                lines = told.iter_lines()  # an iterator that is dropped closes its stream
                assert next(lines) == "event: generating"
                until(lambda: len(service.requests) == before + 1, 20)
        until(lambda: service.requests[before].id in service.cancelled, 5)
    finally:
        service.script = scripted


def test_the_pages_own_core_is_started_and_answers(
    browser: Browser, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The real models, in their demo weights: nobody started a core before the first visitor came."""
    with serving(settings, tmp_path_factory.mktemp("own")) as own:
        context = browser.new_context()
        context.set_default_timeout(SLOW_MS)
        try:
            page = context.new_page()
            page.goto(own.url)
            expect(tab(page, "Guanaco")).to_be_visible(timeout=SLOW_MS)
            send(page, "What is the capital of France?")
            expect_done(page, within_ms=LOAD_MS)
            expect_answer(page, "Paris")
            expect_answer(page, "demo weights")
            _two_at_once(page)
            _a_picture(page)
            _what_is_in_memory(context, own)
        finally:
            context.close()
            core_service.stop(settings)


def _two_at_once(page: Page) -> None:
    tab(page, "Compare").click()
    send(page, "What is the capital of France?", "compare")
    for room in ("compare-left", "compare-right"):
        expect_done(page, room, within_ms=LOAD_MS)
        expect_answer(page, "Paris", room)


def _a_picture(page: Page) -> None:
    tab(page, "LLaVA").click()
    page.get_by_text("What colour is the shape?").click()
    expect_done(page, "llava", within_ms=LOAD_MS)
    expect_answer(page, "red", "llava")


def _what_is_in_memory(context: BrowserContext, own: WebServer) -> None:
    page = come(context, own.link)
    tab(page, "GPU").click()
    row = page.locator("#gpu-models tr", has_text="LLaVA")
    expect(row).to_contain_text("in memory on CPU", timeout=SLOW_MS)
    expect(row).to_contain_text(re.compile(r"[1-9][\d.]* MB"))
    page.get_by_role("button", name="Unload LLaVA").click()
    expect(row).to_contain_text("not loaded", timeout=SLOW_MS)
