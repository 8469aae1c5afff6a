"""Chats whose person does something else while an answer is written, over a core that follows a script."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import SLOW_MS, SLOWLY, answers, expect_answer, send, tab, until
from tests.support.inference_server import ScriptedService

pytestmark = pytest.mark.browser


def test_another_conversation_is_not_disturbed_by_an_answer_under_way(guest: Page, service: ScriptedService) -> None:
    send(guest, SLOWLY)
    expect_answer(guest, "word3")
    asked = service.requests[-1].id
    guest.locator("#guanaco-new").click()
    expect(answers(guest)).to_have_count(0)
    expect(guest.locator("#guanaco-box .stop-button")).to_have_count(0)
    send(guest, "meanwhile")
    expect_answer(guest, "You said meanwhile.")
    guest.wait_for_timeout(1500)  # for what the first one might still say
    expect_answer(guest, "You said meanwhile.")
    guest.locator("#guanaco-talks").get_by_role("button", name=SLOWLY, exact=True).click()
    expect_answer(guest, "word30")  # it was written on, and goes on being shown
    expect_answer(guest, "word40")
    guest.locator("#guanaco-box .stop-button").click()
    expect_answer(guest, "Stopped")
    until(lambda: asked in service.cancelled, 10)


def test_a_conversation_that_is_deleted_while_it_is_written_is_gone(guest: Page, service: ScriptedService) -> None:
    send(guest, SLOWLY)
    expect_answer(guest, "word3")
    asked = service.requests[-1].id
    guest.once("dialog", lambda dialog: dialog.accept())
    guest.get_by_role("button", name=f"Delete {SLOWLY}").click()
    expect(answers(guest)).to_have_count(0)
    until(lambda: asked in service.cancelled, 10)
    expect(guest.locator("#guanaco-talks li")).to_have_count(0)
    expect(guest.locator("#guanaco-box .stop-button")).to_have_count(0)
    expect(guest.get_by_test_id("toast-body")).to_have_count(0)
    send(guest, "still there")
    expect_answer(guest, "You said still there.")


def test_a_new_comparison_is_empty_while_the_old_one_is_answered(guest: Page, service: ScriptedService) -> None:
    tab(guest, "Compare").click()
    send(guest, SLOWLY, "compare")
    for room in ("compare-left", "compare-right"):
        expect_answer(guest, "word3", room)
    asked = service.requests[-2:]
    guest.locator("#compare-new").click()
    until(lambda: all(request.id in service.cancelled for request in asked), 10)
    guest.wait_for_timeout(1500)
    for room in ("compare-left", "compare-right"):
        expect(answers(guest, room)).to_have_count(0)


def test_a_story_keeps_what_was_changed_in_it(guest: Page) -> None:
    tab(guest, "MPT-7B").click()
    tab(guest, "StoryWriter").click()
    write(guest, "Twice. ", "Go on", "Twice. You said **Twice. **.")
    write(guest, "Thrice. You said **Twice. **.", "Write it anew", "Thrice. You said **Thrice. **.")
    story = guest.locator("#storywriter-text textarea")
    story.fill("Thrice! You said **Thrice. **.")
    guest.get_by_role("button", name="Take it back").click()
    expect(story).to_have_value("Thrice! ")
    story.fill("Never mind.")
    guest.get_by_role("button", name="Take it back").click()
    expect(guest.locator("#storywriter-problem").get_by_role("alert")).to_contain_text("The model has written nothing")
    expect(story).to_have_value("Never mind.")


def write(page: Page, text: str, button: str, becomes: str) -> None:
    story = page.locator("#storywriter-text textarea")
    story.fill(text)
    page.get_by_role("button", name=button).click()
    expect(story).to_have_value(becomes, timeout=SLOW_MS)
    expect(page.locator("#storywriter-foot")).to_contain_text("tokens/s", timeout=SLOW_MS)
    stop = page.get_by_role("button", name="Stop").locator("visible=true")
    expect(stop).to_have_count(0, timeout=SLOW_MS)  # until then the text is the writer's
