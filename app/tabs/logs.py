"""The logs of the chosen Space: followed on a clock of their own, searched, saved.

The page's clock is too slow for text that a person follows, and has too much to look at to go faster. This one reads no
more than the end of a log, and only where that has grown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

import gradio as gr

from app.desk import LOG_LINES, Desk
from app.tabs.told import Told
from app.views import log as log_view
from spaces_runner.errors import RunnerError

LOGS = {"run": "Run log", "build": "Build log"}
EMPTY = {
    "run": "Nothing yet.",
    "build": "Nothing yet, or nothing to build: a launch of the same commit uses what stands.",
}
HEIGHT = 420
SEARCHED = 5_000  # lines of a log, the newest
QUICKEST_S = 0.25
SLOWEST_S = 1.0
LOOKS_PER_S = 70  # of all pages together; one takes some 6 ms of the server (measured on Gradio 6.31)
LATELY_S = 3 * SLOWEST_S
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# The browser fetches the log as a file, which may be larger than a page could hold.
_SAVE = """(address) => {
  if (!address) return [];
  const link = document.createElement('a');
  link.href = address;
  link.download = '';
  link.click();
  return [];
}"""


def interval(pages: int) -> float:
    """Seconds between two looks of one of `pages` that follow a log."""
    return min(max(pages / LOOKS_PER_S, QUICKEST_S), SLOWEST_S)


@dataclass(slots=True)
class Followers:
    """The pages that looked at a log lately. May be told from any thread."""

    clock: Callable[[], float] = time.monotonic
    _looked: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def looks(self, page: str) -> None:
        with self._lock:
            self._looked[page] = self.clock()

    def count(self) -> int:
        with self._lock:
            now = self.clock()
            self._looked = {page: at for page, at in self._looked.items() if now - at <= LATELY_S}
            return len(self._looked)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPanel:
    """The components. `patch` stands beside the logs and is not followed."""

    column: gr.Column
    clock: gr.Timer
    parts: dict[str, gr.HTML]  # by the log
    patch: gr.HTML
    search: gr.Textbox
    save: dict[str, gr.Button]
    address: gr.Textbox  # of the log that is saved
    shown: gr.State


def lay_out(part: Callable[..., gr.HTML]) -> LogPanel:
    """Where it is called. `part` makes a piece of the page that a view fills."""
    with gr.Column(visible=False) as column:
        with gr.Tabs():
            parts = {}
            for which, title in LOGS.items():
                with gr.Tab(title):
                    parts[which] = part(f"{which}-log", max_height=HEIGHT)
            with gr.Tab("Patch"):
                patch = part("patch", max_height=HEIGHT)
        search, save, address = _tools()
    return LogPanel(column=column, clock=gr.Timer(QUICKEST_S, active=False), parts=parts, patch=patch, search=search,
                    save=save, address=address, shown=gr.State({}))  # fmt: skip


def _tools() -> tuple[gr.Textbox, dict[str, gr.Button], gr.Textbox]:
    """The search in the logs, a button to save each, and where the page finds what to fetch."""
    with gr.Row(equal_height=True, elem_classes="sr-tools"):
        search = gr.Textbox(label=f"Search in the last {SEARCHED:,} lines", placeholder="Words of a line",
                            max_lines=1, min_width=240, elem_id="log-search")  # fmt: skip
        save = {
            which: gr.Button(f"Save the {which} log", size="sm", min_width=130, scale=0, elem_classes="sr-add")
            for which in LOGS
        }
    # By the style sheet: what is hidden by Gradio alone comes into sight, now and then, with the column around it.
    hidden: dict[str, Any] = {"visible": "hidden", "elem_classes": "sr-file"}
    return search, save, gr.Textbox(label="Address of the log", **hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """The handlers. `chosen` holds the id of the Space whose logs they are."""

    desk: Desk
    panel: LogPanel
    chosen: gr.State
    followers: Followers = field(default_factory=Followers)

    def connect(self) -> None:
        panel = self.panel
        looks = [self.chosen, panel.shown, panel.search]
        live: list[Any] = [*panel.parts.values(), panel.shown]
        panel.clock.tick(self.follow, looks, live, queue=False, **_QUIET)
        panel.search.change(self.follow, looks, live, queue=False, trigger_mode="always_last", **_QUIET)
        for which, button in panel.save.items():
            button.click(partial(self.saved, which), self.chosen, panel.address, **_QUIET).then(
                None, panel.address, None, js=_SAVE, **_QUIET
            )

    def follow(self, chosen: str | None, shown: dict[str, str], words: str, request: gr.Request) -> tuple[Any, ...]:
        """What is new in the logs since this page was last told."""
        self.followers.looks(request.session_hash or "")
        nothing = (*[gr.skip()] * len(LOGS), gr.skip())
        if chosen is None:
            return nothing
        told = Told(before=shown)
        try:
            parts = [self._part(told, which, chosen, words or "") for which in LOGS]
        except RunnerError:  # removed meanwhile: the page's clock tells
            return nothing
        return (*parts, told.now if told.now != shown else gr.skip())

    def every(self) -> float:
        """Seconds between two looks of a page, as many as there are now."""
        return interval(self.followers.count())

    def saved(self, which: str, chosen: str | None) -> str:
        """Where a browser gets the whole log, as far as it is kept; "" where no Space is chosen."""
        return f"/logs/{quote(chosen)}/{which}.log" if chosen else ""

    def _part(self, told: Told, which: str, chosen: str, words: str) -> Any:
        mark = self.desk.log_mark(chosen, which)  # before the lines: what comes meanwhile is told the next time
        return told.changed(
            which,
            (chosen, mark, words),
            lambda: log_view.render(self._lines(chosen, which, words), LOGS[which], words, EMPTY[which]),
        )

    def _lines(self, space_id: str, which: str, words: str) -> Sequence[str]:
        if not words.strip():
            return self.desk.log(space_id, which)
        return log_view.matching(self.desk.log(space_id, which, SEARCHED), words)[-LOG_LINES:]
