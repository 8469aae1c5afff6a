"""Compare: how each side is asked, pictures, and comparisons that are kept, over a core that follows a script."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from app.inference.prompts.guanaco import HEADER
from tests.browser.pages import SLOWLY, answers, expect_answer, expect_done, send, tab
from tests.support.inference_server import ScriptedService
from tests.support.web import WebServer

pytestmark = pytest.mark.browser

LEFT, RIGHT = "compare-left", "compare-right"
BLIND = "MPT-7B Chat reads text alone, and was asked without the picture."


@pytest.fixture
def compare(guest: Page) -> Page:
    tab(guest, "Compare").click()
    expect(guest.locator("#compare-box textarea")).to_be_visible()
    return guest


def choose(page: Page, side: str, model: str) -> None:
    page.get_by_label(f"{side} model", exact=True).click()
    page.get_by_role("option", name=model).click()


def both_answer(page: Page, words: str) -> None:
    for room in (LEFT, RIGHT):
        expect_answer(page, words, room)
        expect_done(page, room)


def test_each_side_is_asked_with_parameters_of_its_own(compare: Page, service: ScriptedService) -> None:
    right = compare.locator(f"#{RIGHT}-parameters")
    right.get_by_role("button", name="Right model's parameters").click()
    expect(right.get_by_label("Temperature").first).to_have_value("0.1")  # MPT's, as its original demo has it
    right.get_by_label("System prompt").fill("Answer in one word.")
    right.get_by_label("Temperature").first.fill("1.5")
    right.get_by_label("Temperature").first.blur()
    compare.wait_for_timeout(500)
    send(compare, "hello", "compare")
    both_answer(compare, "You said hello.")
    asked = {request.model: request for request in service.requests[-2:]}
    said = asked["mpt-7b-chat"].prompt.messages[0]
    assert (said.role, said.text) == ("system", "Answer in one word.")
    assert asked["mpt-7b-chat"].sampling.temperature == 1.5
    assert asked["guanaco-7b"].sampling.temperature == 0.1 and len(asked["guanaco-7b"].prompt.messages) == 1


def test_another_model_brings_its_own_parameters(compare: Page, service: ScriptedService) -> None:
    left = compare.locator(f"#{LEFT}-parameters")
    left.get_by_role("button", name="Left model's parameters").click()
    expect(left.get_by_label("System prompt")).to_have_attribute("placeholder", HEADER)
    choose(compare, "Left", "StoryWriter")
    expect(compare.locator(f"#{LEFT}-note")).to_contain_text("Goes on with the text")
    expect(left.get_by_label("System prompt")).to_have_count(0)  # its format has none
    expect(left.get_by_label("Temperature").first).to_have_value("0.3")
    send(compare, "Once upon a time", "compare")
    both_answer(compare, "You said Once upon a time.")
    assert {request.model for request in service.requests[-2:]} == {"mpt-7b-storywriter", "mpt-7b-chat"}
    assert all(request.sampling.temperature < 1 for request in service.requests[-2:])


def test_a_picture_goes_to_the_model_that_looks_at_it(compare: Page, service: ScriptedService, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    choose(compare, "Left", "Alpaca-LoRA")
    attach(compare, tmp_path / "red.png")
    send(compare, "What is this?", "compare")
    expect(problem(compare)).to_contain_text("Neither of these models looks at pictures.")
    choose(compare, "Left", "LLaVA")
    expect(problem(compare)).not_to_contain_text("Neither")
    expect(compare.locator("#compare-box textarea")).to_have_value("What is this?")  # nothing was lost
    compare.locator("#compare-box textarea").press("Enter")
    expect_answer(compare, "You said What is this? and 1 picture.", LEFT)
    expect_answer(compare, "You said What is this?.", RIGHT)
    expect(problem(compare)).to_contain_text(BLIND)
    assert sorted(len(request.prompt.images) for request in service.requests[-2:]) == [0, 1]


def test_comparisons_are_found_again_and_go_as_one(compare: Page, server: WebServer) -> None:
    choose(compare, "Right", "Alpaca-LoRA")
    send(compare, "the first", "compare")
    both_answer(compare, "You said the first.")
    compare.locator("#compare-new").click()
    expect(answers(compare, LEFT)).to_have_count(0)
    choose(compare, "Right", "MPT-7B Instruct")
    send(compare, f"the second {SLOWLY}", "compare")
    expect_answer(compare, "word3", RIGHT)
    talks = compare.locator("#compare-talks")
    talks.get_by_role("button", name="the first", exact=True).click()
    both_answer(compare, "You said the first.")
    expect(compare.get_by_label("Right model", exact=True)).to_have_value("Alpaca-LoRA 7B")
    talks.get_by_role("button", name="the second SLOWLY", exact=True).click()
    expect_answer(compare, "word20", LEFT)  # it was written on, and goes on being shown
    compare.locator("#compare-box .stop-button").click()
    for room in (LEFT, RIGHT):
        expect_answer(compare, "Stopped", room)
    for side in ("Left", "Right"):
        link = talks.get_by_role("link", name=f"Save {side} of the second SLOWLY as Markdown")
        href = link.get_attribute("href")
        assert "the second" in compare.request.get(f"{server.url}{href}").text()
    compare.locator("#compare-search input, #compare-search textarea").fill("said first")
    expect(talks.get_by_role("listitem")).to_have_count(1)
    compare.locator("#compare-search input, #compare-search textarea").fill("")
    compare.once("dialog", lambda dialog: dialog.accept())
    talks.get_by_role("button", name="Delete the second").click()
    expect(answers(compare, RIGHT)).to_have_count(0)
    expect(talks.get_by_role("listitem")).to_have_count(1)
    compare.reload()
    expect(compare.locator("#compare-box textarea")).to_be_visible()
    both_answer(compare, "You said the first.")


def problem(page: Page) -> Locator:
    return page.locator("#compare-problem")


def attach(page: Page, path: Path) -> None:
    page.locator("#compare-box input[type=file]").set_input_files(str(path))
    expect(page.locator("#compare-box .thumbnail-item")).to_be_visible()
