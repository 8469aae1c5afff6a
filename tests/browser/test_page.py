"""The page in a browser: paste, inspect, launch, open, stop; and everything that may go wrong on the way."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Locator, Page, expect

from spaces_runner import looking, stopping
from spaces_runner.settings import Settings
from tests.support.home import make_settings, open_directory
from tests.support.web import WebServer, serving

pytestmark = [pytest.mark.browser, pytest.mark.network_index]

BUILD_MS = 300_000  # an environment from an empty cache, on a slow index
STOP_MS = 30_000
README = "---\ntitle: {title}\nemoji: 🌿\nsdk: gradio\nsdk_version: 6.31.0\napp_file: app.py\n---\n"
GREETER = """
import gradio as gr

print("\\x1b[2J\\x1b[31mred\\x1b[0m <script>window.hacked = 1</script> ${window.hacked = 1} {{7}}", flush=True)

def greet(name):
    return f"Good day, {name}!"

gr.Interface(greet, gr.Textbox(label="Name"), gr.Textbox(label="Answer")).launch()
"""
BROKEN = """
print("<img src=x onerror='window.hacked = 1'> on the way", flush=True)
import a_module_that_is_nowhere
"""

# It says what it could do to the page around it. Asked for /strict, it forbids from then on that it is framed.
FRAMED = """
import http.server

PAGE = b'''<!doctype html><title>framed</title><p id="tried"></p><script>
const tried = [];
const attempt = (name, act) => { try { act(); tried.push(name); } catch { tried.push("not " + name); } };
attempt("led away", () => { top.location = "about:blank"; });
attempt("read", () => parent.document.title);
document.querySelector("#tried").textContent = tried.join(", ");
</script>'''

class Page(http.server.BaseHTTPRequestHandler):
    strict = False
    def do_GET(self):
        Page.strict = Page.strict or self.path == "/strict"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        if Page.strict:
            self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(PAGE)

http.server.ThreadingHTTPServer(("0.0.0.0", 7860), Page).serve_forever()
"""


@pytest.fixture(scope="module")
def page_settings(package_cache: Path) -> Iterator[Settings]:
    """A state directory for these tests, whose share server is out of reach: nothing outside is asked for a link."""
    home = open_directory("sr-page-")
    settings = replace(make_settings(home, package_cache), share_server="http://127.0.0.1:9/unreachable")
    yield settings
    for status in looking.statuses(settings):
        if status.stage.active:
            stopping.stop(status.id, settings)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def server(page_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with serving(page_settings, tmp_path_factory.mktemp("page")) as started:
        yield started


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(10_000)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, server: WebServer) -> Page:
    return sign_in(context, server)


def sign_in(context: BrowserContext, server: WebServer, query: str = "") -> Page:
    page = context.new_page()
    page.goto(server.link + query)
    expect(page.get_by_role("heading", name="Spaces Runner")).to_be_visible(timeout=30_000)
    expect(page.locator("#spaces")).to_be_visible(timeout=30_000)
    return page


def make_space(name: str, source: str) -> Path:
    folder = open_directory("sr-space-") / name
    folder.mkdir(mode=0o755)
    (folder / "README.md").write_text(README.format(title=name))
    (folder / "app.py").write_text(source)
    return folder


@pytest.fixture(scope="module")
def greeter() -> Iterator[Path]:
    folder = make_space("greeter", GREETER)
    yield folder
    shutil.rmtree(folder.parent, ignore_errors=True)


def box(page: Page) -> Locator:
    return page.locator("#space").get_by_role("textbox")


def paste(page: Page, text: str) -> None:
    fill(box(page), text)


def fill(field: Locator, text: str) -> None:
    """Type into a field for good: one that has just appeared may be set to its first value once more."""
    for _ in range(20):
        field.fill(text)
        field.page.wait_for_timeout(250)
        if field.input_value() == text:
            return
    raise AssertionError(f"The field does not keep {text!r}")


def uncheck(field: Locator) -> None:
    """As `fill`, for a box with a tick."""
    for _ in range(20):
        field.uncheck()
        field.page.wait_for_timeout(250)
        if not field.is_checked():
            return
    raise AssertionError("The box does not stay empty")


def launch_without_link(page: Page, text: str) -> None:
    paste(page, text)
    page.get_by_role("button", name="Options").click()
    uncheck(page.get_by_label("Public link"))
    page.get_by_role("button", name="Launch").click()


def detail(page: Page, name: str) -> str:
    """Waits until the Space is the chosen one; a selector of its panel."""
    expect(page.locator("#detail h3")).to_contain_text(name, timeout=15_000)
    return "#detail .sr-detail"


def unhurt(page: Page) -> bool:
    """Whether nothing that a Space wrote was run as code."""
    return page.evaluate("window.hacked") is None


def test_without_the_token_there_is_only_the_sign_in(context: BrowserContext, server: WebServer) -> None:
    page = context.new_page()
    answer = page.goto(f"{server.url}/studio/")
    assert answer is not None and answer.status == 401
    assert page.get_by_role("button").all_inner_texts() == ["Sign in"]
    page.get_by_label("Token").fill("not-the-token")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not this server's token")


def test_the_token_can_be_pasted(context: BrowserContext, server: WebServer) -> None:
    page = context.new_page()
    page.goto(f"{server.url}/login")
    page.get_by_label("Token").fill(server.link.rpartition("=")[2])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Spaces Runner")).to_be_visible(timeout=30_000)
    assert "token" not in page.url


def test_the_page_asks_nobody_else(context: BrowserContext, server: WebServer) -> None:
    asked: list[str] = []
    errors: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("weberror", lambda error: errors.append(str(error.error)))
    page = sign_in(context, server)
    page.wait_for_timeout(1500)
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []
    assert errors == []


ATTACK = """<script>
fetch("SERVER/studio/gradio_api/call/spaces",
  {method: "POST", mode: "no-cors", credentials: "include", body: '{"data": []}'});
fetch("SERVER/studio/config", {credentials: "include"}).catch(() => {});
new Image().src = "SERVER/studio/gradio_api/heartbeat/x";
</script><iframe src="SERVER/studio/"></iframe>
<form method="post" target="frame" action="SERVER/studio/gradio_api/call/spaces" enctype="text/plain">
<input name='{"data": [], "x": "' value='"}'></form><iframe name="frame"></iframe>
<script>document.forms[0].submit()</script>"""


class _Neighbour(BaseHTTPRequestHandler):
    """A server of somebody else on this machine: it serves one hostile page and notes the cookies it is sent."""

    attack = b""
    cookies: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.cookies.append(self.headers.get("cookie", ""))
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(self.attack)

    def log_message(self, *_: object) -> None:
        """Keeps the output of the tests clean."""


@pytest.fixture
def neighbour(server: WebServer) -> Iterator[str]:
    _Neighbour.attack = ATTACK.replace("SERVER", server.url).encode()
    _Neighbour.cookies.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Neighbour) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}/"
        http.shutdown()


def test_another_page_of_this_machine_cannot_act_as_the_owner(
    context: BrowserContext, server: WebServer, neighbour: str
) -> None:
    """A Space at another port of 127.0.0.1 is the same site: the browser sends it, and its requests, the cookie."""
    sign_in(context, server)
    page = context.new_page()
    answers: list[tuple[str, int]] = []
    page.on("response", lambda answer: answers.append((answer.url, answer.status)))
    page.goto(neighbour)
    page.wait_for_timeout(1500)
    assert "spaces-runner-" in _Neighbour.cookies[0]  # the attack is real
    refused = [(url.removeprefix(server.url), status) for url, status in answers if url.startswith(server.url)]
    assert {path for path, _ in refused} >= {
        "/studio/gradio_api/call/spaces",
        "/studio/",
    }  # the others are not even shown to the page
    assert {status for _, status in refused} == {403}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", re.compile("paste|Paste|empty|nothing", re.I)),
        ("https://evil.example/spaces/a/b", re.compile("accepted|host|huggingface", re.I)),
        ("/no/such/directory", re.compile("director", re.I)),
    ],
)
def test_wrong_input_gets_a_sentence(page: Page, text: str, words: re.Pattern[str]) -> None:
    for button in ("Inspect", "Launch"):
        paste(page, text)
        page.get_by_role("button", name=button).click()
        notice = page.locator("#notice").get_by_role("alert")
        expect(notice).to_contain_text(words, timeout=15_000)
        expect(notice).not_to_contain_text("Traceback")


def test_a_field_that_cannot_be_read_gets_a_sentence(page: Page, greeter: Path) -> None:
    paste(page, str(greeter))
    page.get_by_role("button", name="Options").click()
    fill(page.get_by_label("Variables"), "no value")
    page.get_by_role("button", name="Inspect").click()
    expect(page.locator("#notice").get_by_role("alert")).to_contain_text("is no variable", timeout=15_000)


def test_secrets_that_were_added_are_named_and_never_shown(page: Page) -> None:
    page.get_by_role("button", name="Options").click()
    kept = page.get_by_text("Secrets for the next launch:")
    expect(kept).to_have_count(0)
    for name in ("HF_TOKEN", "API_KEY"):
        fill(page.locator("#secret-name input"), name)
        fill(page.locator("#secret-value input"), f"{name}-0123456789")
        page.get_by_role("button", name="Add secret").click()
        expect(kept).to_contain_text(name)
    expect(kept).to_have_text("Secrets for the next launch: API_KEY, HF_TOKEN")
    expect(page.locator("#secret-value input")).to_have_value("")
    assert "0123456789" not in page.content()


def test_an_example_fills_the_box(page: Page) -> None:
    page.locator("#offers").get_by_text("examples/hello-interface").click()
    expect(box(page)).to_have_value(re.compile(r"/examples/hello-interface$"))


def test_inspect_shows_the_plan_and_starts_nothing(page: Page, greeter: Path, page_settings: Settings) -> None:
    before = looking.statuses(page_settings)
    paste(page, str(greeter))
    page.get_by_role("button", name="Inspect").click()
    card = page.locator("#inspection")
    expect(card).to_contain_text("Nothing was started", timeout=BUILD_MS)
    expect(card).to_contain_text("Gradio 6.31.0")
    expect(card).to_contain_text("packages")
    page.get_by_text("What is changed in its source").click()
    expect(page.locator("#plan-patch .sr-added")).to_contain_text("share=True")
    assert looking.statuses(page_settings) == before


def test_launch_open_stop(page: Page, browser: Browser, server: WebServer, greeter: Path) -> None:
    launch_without_link(page, str(greeter))
    panel = detail(page, "greeter")
    expect(page.locator("#steps li").first).to_be_visible(timeout=30_000)
    expect(page.locator(f"{panel}[data-stage=RUNNING]")).to_be_visible(timeout=BUILD_MS)
    expect(page.locator("#steps .sr-done")).not_to_have_count(0)
    assert "space=" in page.url

    expect(page.locator("#run-log")).to_contain_text("<script>window.hacked = 1</script>", timeout=15_000)
    expect(page.locator("#run-log")).to_contain_text("${window.hacked = 1} {{7}}")
    assert "\x1b" not in page.locator("#run-log").inner_text() and unhurt(page)

    with page.expect_popup() as opened:
        page.locator(f"{panel} .sr-links a").first.click()
    app = opened.value
    app.get_by_label("Name").fill("Ada")
    app.get_by_role("button", name="Submit").click()
    expect(app.get_by_label("Answer")).to_have_value("Good day, Ada!", timeout=30_000)
    assert app.evaluate("window.opener") is None
    app.close()

    second = browser.new_context()
    try:
        other = sign_in(second, server)
        expect(other.locator(f"{detail(other, 'greeter')}[data-stage=RUNNING]")).to_be_visible(timeout=15_000)
        page.get_by_role("button", name=re.compile("^Stop .*greeter")).click()
        for each in (page, other):
            expect(each.locator("#detail .sr-detail[data-stage=STOPPED]")).to_be_visible(timeout=STOP_MS)
    finally:
        second.close()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the run log").click()
    assert "<script>window.hacked = 1</script>" in Path(saved.value.path()).read_text()
    assert saved.value.suggested_filename.endswith("-run.log")
    page.reload()
    expect(page.locator(f"{detail(page, 'greeter')}[data-stage=STOPPED]")).to_be_visible(timeout=30_000)
    expect(page.locator("#run-log")).to_contain_text("window.hacked")


def test_a_failure_shows_stage_lines_and_remedy(page: Page) -> None:
    folder = make_space("broken", BROKEN)
    launch_without_link(page, str(folder))
    panel = page.locator(detail(page, "broken"))
    expect(panel.locator(".sr-problem")).to_be_visible(timeout=BUILD_MS)
    expect(panel).to_have_attribute("data-stage", "RUNTIME_ERROR")
    expect(panel.locator(".sr-problem .sr-lines")).to_contain_text("a_module_that_is_nowhere")
    expect(panel.locator(".sr-problem .sr-remedy")).not_to_be_empty()
    assert unhurt(page)
    page.once("dialog", lambda dialog: dialog.accept())
    press_while_it_is_made_anew(page, page.get_by_role("button", name=re.compile("^Remove .*broken")))
    expect(page.locator("#spaces")).not_to_contain_text("broken", timeout=15_000)
    shutil.rmtree(folder.parent, ignore_errors=True)


def press_while_it_is_made_anew(page: Page, button: Locator) -> None:
    """As the page's clock makes the cards anew between a finger's way down and up."""
    button.hover()
    page.mouse.down()
    page.locator("#spaces ul").evaluate("list => { list.outerHTML = list.outerHTML; }")
    page.mouse.up()


def test_a_space_runs_twice_by_a_name_and_is_removed_while_it_runs(
    page: Page, greeter: Path, page_settings: Settings
) -> None:
    page.get_by_role("button", name="Options").click()
    fill(page.locator("#launch-name").get_by_role("textbox"), "beside")
    page.get_by_role("button", name="Options").click()
    launch_without_link(page, str(greeter))
    card = page.locator("#spaces li[data-space=beside]")
    expect(card).to_be_visible(timeout=15_000)
    expect(page.locator("#detail .sr-detail[data-space=beside][data-stage=RUNNING]")).to_be_visible(timeout=BUILD_MS)
    said: list[str] = []

    def refuse(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", refuse)
    card.get_by_role("button", name=re.compile("^Remove ")).click()
    assert len(said) == 1 and "stopped first" in said[0]
    expect(card.get_by_role("button", name=re.compile("^Stop "))).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    card.get_by_role("button", name=re.compile("^Remove ")).click()
    expect(card).to_have_count(0, timeout=STOP_MS)
    assert "beside" not in {status.id for status in looking.statuses(page_settings)}


def test_a_preview_shows_the_app_which_cannot_touch_the_page(page: Page, server: WebServer) -> None:
    folder = make_space("framed", FRAMED)
    launch_without_link(page, str(folder))
    panel = page.locator(detail(page, "framed"))
    expect(panel).to_have_attribute("data-stage", "RUNNING", timeout=BUILD_MS)
    preview = page.locator("#preview")
    expect(preview).to_be_hidden()
    page.get_by_role("button", name=re.compile("^Preview .*framed")).click()
    outer = preview.frame_locator("iframe")
    expect(outer.frame_locator("iframe").locator("#tried")).to_have_text("not led away, not read", timeout=15_000)
    assert page.url.startswith(server.url)
    marked = outer.frame_locator("iframe").locator("body")
    marked.evaluate("body => { body.dataset.kept = 'yes'; }")
    page.wait_for_timeout(2500)  # two ticks of the page's clock: the frame is not loaded anew
    expect(marked).to_have_attribute("data-kept", "yes")

    local = panel.locator(".sr-links a").first.get_attribute("href") or ""
    assert page.request.get(f"{local}strict").ok
    page.get_by_role("button", name=re.compile("^Close the preview")).click()
    expect(preview).to_be_hidden(timeout=15_000)
    page.get_by_role("button", name=re.compile("^Preview .*framed")).click()
    expect(outer.get_by_text("forbids other pages")).to_be_visible(timeout=15_000)
    expect(outer.get_by_role("link", name=local)).to_have_attribute("target", "_blank")
    page.get_by_role("button", name=re.compile("^Stop .*framed")).click()
    expect(preview).to_be_hidden(timeout=STOP_MS)
    shutil.rmtree(folder.parent, ignore_errors=True)


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, server: WebServer) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    try:
        page = sign_in(context, server)
        page.get_by_role("button", name="Options").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    finally:
        context.close()
