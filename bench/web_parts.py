"""The parts of the page's benchmark: chats that stream, Spaces that log, a page that is opened cold."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import psutil

from bench.results import Row
from bench.runner_stage import GRADIO, README, Bench, stage
from bench.web_core import TOKEN as CORE_TOKEN
from bench.web_page import Behind, Clock, Json, Layout, Page, Window, opened, settled
from spaces_runner.settings import Settings
from tests.support.web import TOKEN, WebServer, serving

RATE = 20.0  # tokens a second and stream
RAMP_S = 120.0  # until every reader has heard something; what comes before does not count
LATE_S = 0.5
PATIENCE_S = 300.0  # for the server to start: not what is measured
NO_CORE = "http://127.0.0.1:9"  # nobody listens there
STALL_S = 2.0
USABLE_S = 2.0
LOGGER = """import http.server, sys, threading, time
rate = float(sys.argv[1])
def log():
    begun, number = time.monotonic(), 0
    while True:
        number += 1
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        print(f"@{time.monotonic():.4f} line {number} of a Space that works", flush=True)
threading.Thread(target=log, daemon=True).start()
http.server.HTTPServer(("0.0.0.0", 7860), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is asked of the page. `lines`: of all Spaces together, a second."""

    streams: int = 200
    spaces: int = 20
    lines: float = 1000.0
    seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """The processor time that a server spent within `seconds`."""

    spent: float
    seconds: float


@contextmanager
def scripted_core(tokens: int) -> Iterator[str]:
    """The address of a core that follows a script."""
    command = [sys.executable, "-m", "bench.web_core", "--rate", str(RATE), "--tokens", str(tokens)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield (process.stdout.readline() if process.stdout else "").strip()
        finally:
            process.terminate()
            process.wait(15)


@contextmanager
def page_server(settings: Settings, core: str) -> Iterator[WebServer]:
    with tempfile.TemporaryDirectory(prefix="bench-web-") as folder:
        told = {"SPACES_RUNNER_CORE_TOKEN": CORE_TOKEN}
        with serving(settings, Path(folder), ["--core", core], told, PATIENCE_S) as server:
            yield server


def chats(size: Size) -> list[Row]:
    """Chat streams on the page, each told by a reader of Server-Sent Events (the core is scripted)."""
    tokens = int((size.seconds + 2 * RAMP_S) * RATE)
    with stage(1) as bench, scripted_core(tokens) as core, page_server(bench.settings, core) as server:
        return asyncio.run(_chats(size, server))


async def _chats(size: Size, server: WebServer) -> list[Row]:
    async with opened(server.url, TOKEN) as (http, layout):
        window = Window()
        heard = [Behind(window) for _ in range(size.streams)]
        reading = [asyncio.create_task(_chat(Page(http, layout), behind)) for behind in heard]
        busy = await _measured(size, server, heard, reading)
    name = f"(a) {size.streams} chats at {RATE:g} tokens/s (scripted core)"
    expected = size.streams * RATE * size.seconds
    return [*_behind(name, heard), _came(f"{name}: tokens that came", heard, expected), *_load_of(name, heard, busy)]


async def _measured(
    size: Size, server: WebServer, heard: Sequence[Behind], reading: Sequence[asyncio.Task[None]]
) -> Busy:
    """Lets the readers read for as long as counts; how busy the server was. Raises what a reader raised."""
    begun = asyncio.gather(*(behind.begun.wait() for behind in heard))
    either: list[asyncio.Future[Any]] = [begun, *reading]
    await asyncio.wait(either, timeout=RAMP_S, return_when=asyncio.FIRST_COMPLETED)
    if begun.done():
        heard[0].window.open(size.seconds)
    busy = await _busy(server, size.seconds)
    await asyncio.sleep(STALL_S)  # for what is under way
    for each in reading:
        each.cancel()
    for outcome in await asyncio.gather(*reading, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    begun.cancel()
    return busy


async def _chat(page: Page, behind: Behind) -> None:
    """Sends a message and hears its answer, until it is cancelled."""
    box = page.layout.part("guanaco-box")["id"]
    await page.fire(page.layout.event(box, "submit"), {box: "Go on."})
    for event in await settled(page):
        await page.fire(event, {})
    async for told in page.heard():
        behind.take(told)
    raise RuntimeError(f"an answer ended early, after {len(behind.late)} tokens")


async def _busy(server: WebServer, seconds: float) -> Busy:
    process = psutil.Process(server.process.pid)
    before, begun = sum(process.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(seconds)
    return Busy(spent=sum(process.cpu_times()[:2]) - before, seconds=time.monotonic() - begun)


def logs(size: Size) -> list[Row]:
    """Spaces that log, each on a page of its own, told by the page's clock."""
    with stage(1) as bench:
        spaces = _logging_spaces(bench, size)
        with page_server(bench.settings, NO_CORE) as server:
            return asyncio.run(_logs(size, server, spaces))


def _logging_spaces(bench: Bench, size: Size) -> list[str]:
    files = {"README.md": README.format(title="logger", gradio=GRADIO), "app.py": LOGGER, "requirements.txt": ""}
    ids = []
    for number in range(size.spaces):
        bench.hub.add_space(f"bench/logger-{number}", files)
        ids.append(bench.launch(f"bench/logger-{number}", str(size.lines / size.spaces)).id)
    return ids


async def _logs(size: Size, server: WebServer, spaces: Sequence[str]) -> list[Row]:
    async with opened(server.url, TOKEN) as (http, layout):
        window = Window()
        heard = [Behind(window) for _ in spaces]
        pages = zip(spaces, heard, strict=True)
        reading = [asyncio.create_task(_watch(Page(http, layout), space, behind)) for space, behind in pages]
        busy = await _measured(size, server, heard, reading)
    name = f"(b) {size.spaces} Spaces, {size.lines:g} lines/s, on a page each"
    expected = size.lines * size.seconds
    return [*_behind(name, heard), _came(f"{name}: lines that came", heard, expected), *_load_of(name, heard, busy)]


async def _watch(page: Page, space: str, behind: Behind) -> None:
    """Chooses a Space by its card and follows its log, as the page's clocks do, until it is cancelled."""
    cards = page.layout.part("spaces")["id"]
    await page.fire(page.layout.event(cards, "click"), {}, {"action": "show", "space": space})
    await settled(page)
    page_clock, log_clock = page.layout.ticking("spaces"), page.layout.ticking("run-log")
    async with asyncio.TaskGroup() as clocks:
        clocks.create_task(_ticks(page, page_clock, partial(log_clock.heed, page_clock.event)))
        clocks.create_task(_ticks(page, log_clock, behind.take))


async def _ticks(page: Page, clock: Clock, told: Callable[[str], None]) -> None:
    """What a clock of the page asks for, until it is cancelled."""
    due = time.monotonic()
    while True:
        due = max(due + clock.every, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
        told(await page.ask(clock.event, {}))


def _came(name: str, heard: Sequence[Behind], expected: float) -> Row:
    share = 100 * sum(len(each.late) for each in heard) / expected
    return Row(name=name, value=round(share, 1), unit="%", bar=">= 95")


def _load_of(name: str, heard: Sequence[Behind], busy: Busy) -> list[Row]:
    updates = sum(len(each.gaps) for each in heard)
    return [
        Row(name=f"{name}: the server", value=round(100 * busy.spent / busy.seconds), unit="% of a core"),
        Row(name=f"{name}: the server, for each update", value=round(1000 * busy.spent / max(updates, 1), 2),
            unit="ms"),
    ]  # fmt: skip


def _behind(name: str, heard: Sequence[Behind]) -> list[Row]:
    late = [seconds for each in heard for seconds in each.late]
    if len(late) < 2:
        raise RuntimeError(f"{name}: not every reader heard something within {RAMP_S:.0f} s")
    cuts = quantiles(late, n=100, method="inclusive")
    longest = max((gap for each in heard for gap in each.gaps), default=float("inf"))
    return [
        Row(name=f"{name}: behind, p50", value=round(cuts[49], 3), unit="s"),
        Row(name=f"{name}: behind, p95", value=round(cuts[94], 3), unit="s", bar=f"<= {LATE_S:g}"),
        Row(name=f"{name}: the longest wait for more", value=round(longest, 2), unit="s", bar=f"<= {STALL_S:g}"),
    ]


def cold(size: Size) -> list[Row]:
    """A server just started, from its first answer to a page that can be used."""
    with stage(1) as bench, tempfile.TemporaryDirectory(prefix="bench-web-") as folder:
        begun = time.monotonic()
        with serving(bench.settings, Path(folder), ["--core", NO_CORE], None, PATIENCE_S) as server:
            up = time.monotonic()
            asyncio.run(_open_cold(server))
            usable = time.monotonic()
        rows = [
            Row(name="(c) the server, from its start to its first answer", value=round(up - begun, 2), unit="s"),
            Row(name="(c) the cold page, all of it and its first events over HTTP", value=round(usable - up, 2),
                unit="s", bar=f"<= {USABLE_S:g}"),
        ]  # fmt: skip
        if (chromium := shutil.which("chromium")) is None:
            sys.stderr.write("    No Chromium on this machine: the page in a browser is left out.\n")
            return rows
        with serving(bench.settings, Path(folder), ["--core", NO_CORE], None, PATIENCE_S) as server:
            seconds = _in_browser(server, chromium)
    return [*rows, Row(name="(c) the cold page in Chromium, until a Space can be pasted and inspected",
                       value=round(seconds, 2), unit="s", bar=f"<= {USABLE_S:g}")]  # fmt: skip


async def _open_cold(server: WebServer) -> None:
    """The page, every file that it names, and the events it sets off when it is loaded, to their ends."""
    async with opened(server.url, TOKEN) as (http, layout):
        page = (await http.get("")).raise_for_status().text
        files = sorted(set(re.findall(r'(?:src|href)="(\.?/?[^":]+\.(?:js|css))"', page)))
        for answer in await asyncio.gather(*(http.get(file) for file in files)):
            answer.raise_for_status()
        await asyncio.gather(*(_load(http, layout, event) for event in layout.loads))


async def _load(http: httpx.AsyncClient, layout: Layout, event: Json) -> None:
    page = Page(http, layout)
    if event["queue"]:
        await page.fire(event, {})
        await settled(page)
    else:
        await page.ask(event, {})


def _in_browser(server: WebServer, chromium: str) -> float:
    """Seconds from going there to a box that takes text and a button that can be pressed."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        begun = time.monotonic()
        page.goto(server.link)
        page.locator("#space").get_by_role("textbox").fill("owner/name")
        expect(page.get_by_role("button", name="Inspect")).to_be_enabled()
        seconds = time.monotonic() - begun
        browser.close()
    return seconds
