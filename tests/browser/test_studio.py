"""The owner's tabs beside the chats, over a core that follows a script; the address; speeds, parameters, examples."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.views import text
from spaces_runner.settings import Settings
from tests.browser.pages import AT_LENGTH, SLOW_MS, SLOWLY, answers, come, expect_answer, expect_done, send, tab, until
from tests.support.inference_endless import catalogue, write_endless
from tests.support.inference_process import TOKEN as REAL_TOKEN
from tests.support.inference_process import Core, running
from tests.support.inference_server import ScriptedService
from tests.support.web import WebServer, serving

pytestmark = pytest.mark.browser

LEFT, RIGHT = "compare-left", "compare-right"


@pytest.fixture
def owner(context: BrowserContext, server: WebServer) -> Page:
    return come(context, server.link)


def test_one_message_goes_to_two_models(guest: Page, service: ScriptedService) -> None:
    tab(guest, "Compare").click()
    before = len(service.requests)
    send(guest, f"both {SLOWLY}", "compare")
    for room in (LEFT, RIGHT):
        expect_answer(guest, "word3", room)  # neither waits for the other's end
    asked = service.requests[before:]
    assert {request.model for request in asked} == {"guanaco-7b", "mpt-7b-chat"}
    guest.locator("#compare-box .stop-button").click()
    until(lambda: all(request.id in service.cancelled for request in asked), 20)
    for room in (LEFT, RIGHT):
        expect_answer(guest, "Stopped", room)
    send(guest, "again", "compare")
    for room in (LEFT, RIGHT):
        expect_answer(guest, "You said again.", room)
        expect_done(guest, room)
    assert service.requests[-1].prompt.messages[0].text == f"both {SLOWLY}"
    guest.reload()
    for room in (LEFT, RIGHT):
        expect_answer(guest, "You said again.", room)
    guest.locator("#compare-new").click()
    expect(answers(guest, LEFT)).to_have_count(0)


def test_compares_stop_frees_the_places_of_both_models(
    browser: Browser, settings: Settings, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On the real core, whose answers would go on for many seconds."""
    write_endless(tmp_path / "endless")
    (tmp_path / "own.toml").write_text(catalogue(tmp_path / "endless", "guanaco-7b", "alpaca-lora-7b"))
    said = {"SPACES_RUNNER_CORE_TOKEN": REAL_TOKEN}
    with (
        running(tmp_path, "--preset", "demo", "--models", str(tmp_path / "own.toml")) as real,
        serving(settings, tmp_path_factory.mktemp("compare"), ["--core", real.url], said) as web,
        browser.new_context() as context,
    ):
        page = come(context, web.url)
        tab(page, "Compare").click()
        page.get_by_label("Right model").click()
        page.get_by_role("option", name="Alpaca-LoRA").click()
        send(page, "Go on", "compare")
        for room in (LEFT, RIGHT):
            expect_answer(page, "the the", room)
        assert _places_taken(real) == 2
        page.locator("#compare-box .stop-button").click()
        until(lambda: _places_taken(real) == 0, 2)
        for room in (LEFT, RIGHT):
            expect_answer(page, re.compile(r"Stopped · \d+ tokens"), room)
        expect(page.locator("#compare-box .submit-button")).to_be_visible()


def _places_taken(core: Core) -> float:
    """Both models are one on the core, with different adapters, and each tells of all its places."""
    with core.client() as client:
        told = client.get("/metrics").raise_for_status().text
    return max(float(line.rpartition(" ")[2]) for line in told.splitlines() if line.startswith("core_running{"))


def test_the_tab_stays_over_a_reload_and_in_a_copied_link(guest: Page, browser: Browser, server: WebServer) -> None:
    tab(guest, "MPT-7B").click()
    tab(guest, "Instruct").click()
    guest.reload()
    expect(guest.locator("#mpt-instruct-box textarea")).to_be_visible(timeout=SLOW_MS)
    expect(tab(guest, "MPT-7B")).to_have_attribute("aria-selected", "true")
    assert "tab=mpt" in guest.url and "part=mpt-instruct" in guest.url
    other = browser.new_context()
    try:
        page = other.new_page()
        page.goto(f"{server.url}/?tab=llava")
        expect(page.locator("#llava-box textarea")).to_be_visible(timeout=SLOW_MS)
    finally:
        other.close()


def test_an_example_picture_is_asked_about(guest: Page, service: ScriptedService) -> None:
    tab(guest, "LLaVA").click()
    guest.get_by_text("What colour is the shape?").click()
    expect_answer(guest, "You said What colour is the shape? and 1 picture.", "llava")
    assert service.requests[-1].prompt.images[0].startswith(b"\x89PNG")
    assert guest.locator("#llava-chat .user img").first.evaluate("image => image.naturalWidth") == 48


def test_speeds_are_told_where_the_model_is(guest: Page) -> None:
    send(guest, AT_LENGTH)
    expect_answer(guest, "word7")
    told = re.compile(r"Speed so far: \d+\.\d tokens/s here, on CPU")  # of all its answers, other tests' too
    expect(guest.locator("#guanaco-speed")).to_contain_text(told, timeout=SLOW_MS)
    expect(guest.locator("#llava-speed")).to_be_hidden()


def test_sliders_follow_what_the_core_comes_to_say(guest: Page, service: ScriptedService) -> None:
    """While their place is closed, too, and what a person moved stays."""
    place = guest.locator("#guanaco-parameters")
    parameters = place.get_by_role("button", name="Parameters")
    parameters.click()
    longest, temperature = place.get_by_label("Longest answer"), place.get_by_label("Temperature")
    expect(longest.last).to_have_attribute("max", "256", timeout=SLOW_MS)
    guest.wait_for_timeout(1500)  # the page is told its bounds once more as it settles
    temperature.first.fill("1.5")
    temperature.first.blur()
    parameters.click()
    before = service.offered
    service.offered = tuple(replace(card, context=card.context * 4) for card in before)
    try:
        guest.wait_for_timeout(3500)  # what is known stays so for three seconds
        tab(guest, "LLaVA").click()
        tab(guest, "Guanaco").click()
        expect(longest.last).to_have_attribute("max", "1024", timeout=SLOW_MS)
        parameters.click()
        expect(place.locator(".max_value").last).to_have_text("1024")
        expect(temperature.first).to_have_value("1.5")
        tab(guest, "LLaVA").click()
        guest.get_by_role("button", name="Parameters").locator("visible=true").click()
        expect(guest.get_by_label("Longest answer").locator("visible=true").last).to_have_attribute(
            "max", "1024", timeout=SLOW_MS
        )
    finally:
        service.offered = before


def test_the_gpu_tab_loads_and_unloads_and_says_what_has_to_go(owner: Page) -> None:
    tab(owner, "GPU").click()
    expect(owner.locator("#gpu-host")).to_contain_text("load of", timeout=SLOW_MS)
    expect(owner.locator("#gpu-host svg polyline")).not_to_have_count(0, timeout=SLOW_MS)
    row = owner.locator("#gpu-models tr", has_text="MPT-7B Chat")
    expect(row).to_contain_text("not loaded", timeout=SLOW_MS)
    for button, state in (("Load", "in memory"), ("Sleep", "asleep"), ("Unload", "not loaded")):
        owner.get_by_role("button", name=f"{button} MPT-7B Chat").click()
        expect(row).to_contain_text(state, timeout=SLOW_MS)
    owner.get_by_label("Memory that a launch needs").fill("1000000")
    expect(owner.locator("#gpu-answer")).to_contain_text("Does not fit.", timeout=SLOW_MS)


def test_the_gpu_tab_asks_nothing_once_it_is_left(owner: Page) -> None:
    """Its clock goes while it is open, and only then."""
    tab(owner, "GPU").click()
    expect(owner.locator("#gpu-host svg")).to_be_visible(timeout=SLOW_MS)
    tab(owner, "Guanaco").click()
    owner.wait_for_timeout(3000)
    before = owner.locator("#gpu-host").inner_html()
    owner.wait_for_timeout(6000)
    assert owner.locator("#gpu-host").inner_html() == before


def test_a_key_is_made_shown_once_used_and_revoked(owner: Page, browser: Browser, server: WebServer) -> None:
    tab(owner, "Access").click()
    place = owner.locator("#access-keys")
    expect(place).to_contain_text("No program has a key yet.")
    owner.get_by_label("Name of the program").fill("my notebook")
    owner.get_by_role("button", name="Make a key").click()
    expect(owner.locator("#access-problem").get_by_role("alert")).to_contain_text("cannot be the name of a key")
    owner.get_by_label("Name of the program").fill("notebook")
    owner.get_by_role("button", name="Make a key").click()
    shown = owner.locator("#access-key textarea")
    expect(shown).to_have_value(re.compile(r"sr-[A-Za-z0-9_-]{43}"))
    expect(owner.locator("#access-problem")).to_be_hidden()
    expect(owner.locator("#access-usage")).to_contain_text(f"OPENAI_BASE_URL={server.url}/v1")
    expect(place.get_by_role("row", name="notebook")).to_contain_text(re.compile(r"[\d.]+s ago"))
    key = {"Authorization": f"Bearer {shown.input_value()}"}
    assert httpx.get(f"{server.url}/v1/models", headers=key).status_code == 200

    owner.reload()
    expect(place.get_by_role("row", name="notebook")).to_be_visible(timeout=SLOW_MS)  # the tab stays
    expect(shown).to_have_count(0)
    assert key["Authorization"].removeprefix("Bearer ") not in owner.content()
    owner.once("dialog", lambda dialog: dialog.accept())
    owner.get_by_role("button", name="Revoke the key of notebook").click()
    expect(place).to_contain_text("No program has a key yet.")
    assert httpx.get(f"{server.url}/v1/models", headers=key).status_code == 401


def test_a_links_button_copies_it(owner: Page) -> None:
    """As the views write it, wherever on the page."""
    owner.locator("main").first.evaluate("(main, html) => main.insertAdjacentHTML('beforeend', html)",
                                         text.link("https://a.gradio.live", "Public"))  # fmt: skip
    owner.get_by_role("button", name="Copy: Public").click()
    expect(owner.locator(".sr-copy", has_text="Copied")).to_be_visible()
    assert owner.evaluate("navigator.clipboard.readText()") == "https://a.gradio.live"


def test_guests_see_nothing_of_the_keys(guest: Page, server: WebServer) -> None:
    expect(tab(guest, "Access")).to_have_count(0)
    config = guest.request.get(f"{server.url}/config").text()
    assert "access-" not in config and "Make a key" not in config
    for api_name in ("keys", "make_key", "revoke_key"):
        for page in ("", "/studio"):
            asked = guest.request.post(f"{server.url}{page}/gradio_api/call/{api_name}", data={"data": ["x"]})
            assert asked.status == 401


ROOMS = ("Run a Space", "Guanaco", "Alpaca-LoRA", "MPT-7B", "LLaVA", "Compare", "GPU", "Access")


def test_a_phone_scrolls_no_tab_sideways_and_finds_every_button(browser: Browser, server: WebServer) -> None:
    """A button of less than 28 CSS pixels is missed by a finger."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    context.set_default_timeout(SLOW_MS)
    wide: dict[str, int] = {}
    small: dict[str, list[str]] = {}
    try:
        page = come(context, server.link)
        send(page, "a_word_that_is_very_long_" * 12)
        expect_done(page)
        for room in ROOMS:
            _open_on_a_phone(page, room)
            page.wait_for_timeout(2500)  # what comes with the tab is there
            wide[room] = page.evaluate("document.documentElement.scrollWidth")
            small[room] = page.evaluate(TOO_SMALL)
    finally:
        context.close()
    assert {room: width for room, width in wide.items() if width > 390} == {}
    assert {room: names for room, names in small.items() if names} == {}


# The buttons in sight that are too small, by what they are called. Gradio measures its tabs on a row of no height.
TOO_SMALL = """() => [...document.querySelectorAll("button, a")].filter((each) => {
  const {width, height} = each.getBoundingClientRect();
  return width > 1 && height > 1 && (width < 28 || height < 28) && getComputedStyle(each).visibility !== "hidden";
}).map((each) => each.ariaLabel || each.innerText || each.outerHTML.slice(0, 80))"""


def _open_on_a_phone(page: Page, room: str) -> None:
    """Its tab stands in the row, or in the menu beside it."""
    if not tab(page, room).count():
        page.get_by_role("button", name="More tabs").click()
        page.locator(".overflow-dropdown button", has_text=room).click()
    else:
        tab(page, room).click()
    expect(tab(page, room)).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_passes_axe(browser: Browser, server: WebServer, scheme: str) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    context.set_default_timeout(SLOW_MS)
    found: dict[str, list[str]] = {}
    try:
        page = come(context, server.link)
        send(page, "good day")
        expect_done(page)
        for room in ROOMS:
            tab(page, room).click()
            expect(tab(page, room)).to_have_attribute("aria-selected", "true")
            page.wait_for_timeout(2500)
            found[room] = _violations(page)
    finally:
        context.close()
    assert {room: each for room, each in found.items() if each} == {}


def _violations(page: Page) -> list[str]:
    """What axe finds on what is shown: the rule, and the first places."""
    results = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
    return [
        f"{each['id']}: {re.sub(chr(10), ' ', ' | '.join(node['html'][:140] for node in each['nodes'][:3]))}"
        for each in results.response["violations"]
    ]
