"""What tests do with the chat pages in a browser."""

from __future__ import annotations

import re
import time

from playwright.sync_api import BrowserContext, Locator, Page, expect

SLOW_MS = 30_000
SLOWLY = "SLOWLY"  # a message with this word gets an answer that takes a minute
AT_LENGTH = "AT LENGTH"  # and with these, one of eight tokens


def come(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    expect(tab(page, "Guanaco")).to_be_visible(timeout=SLOW_MS)
    # The notice comes from the server: by then the page has asked for what it shows.
    tab(page, "Guanaco").click()
    expect(page.get_by_text("Demo weights.").locator("visible=true").first).to_be_visible(timeout=SLOW_MS)
    page.wait_for_timeout(1500)  # what came last is still being put in its place, and a key pressed meanwhile is lost
    return page


def tab(page: Page, name: str) -> Locator:
    return page.get_by_role("tab", name=name, exact=True).locator("visible=true")


def send(page: Page, text: str, room: str = "guanaco") -> None:
    box = page.locator(f"#{room}-box textarea")
    box.fill(text)
    box.press("Enter")


def answers(page: Page, room: str = "guanaco") -> Locator:
    return page.locator(f"#{room}-chat .bot.message")


def expect_answer(page: Page, words: str | re.Pattern[str], room: str = "guanaco", within_ms: int = SLOW_MS) -> None:
    expect(answers(page, room).last).to_contain_text(words, timeout=within_ms)


def expect_done(page: Page, room: str = "guanaco", within_ms: int = SLOW_MS) -> None:
    expect(answers(page, room).last.locator(".sr-foot")).to_contain_text("tokens/s", timeout=within_ms)


def until(condition: object, seconds: float) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
