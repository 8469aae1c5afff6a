"""A page as a browser drives it: events over HTTP, answers by Server-Sent Events. No browser, so it is light."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

MARK = re.compile(r"@(\d+\.\d{4}) ")
ANSWER_S = 60.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a page is made of: its parts by their names, its events by what sets them off."""

    config: Json

    def part(self, name: str) -> Json:
        return next(part for part in self.config["components"] if part["props"].get("elem_id") == name)

    def value(self, part_id: int) -> Any:
        return next(part["props"].get("value") for part in self.config["components"] if part["id"] == part_id)

    def event(self, part_id: int, kind: str) -> Json:
        return next(event for event in self.config["dependencies"] if [part_id, kind] in _targets(event))

    def changes(self, part_ids: Collection[int]) -> list[Json]:
        """The events that a change of these parts sets off."""
        return [event for event in self.config["dependencies"]
                if any(target in part_ids and kind == "change" for target, kind in _targets(event))]  # fmt: skip

    @property
    def loads(self) -> list[Json]:
        """The events of a page that is opened."""
        return [event for event in self.config["dependencies"] if "load" in [kind for _, kind in _targets(event)]]

    def ticking(self, name: str) -> Clock:
        """The clock that keeps the part `name` up to date."""
        clocks = {part["id"]: float(part["props"]["value"]) for part in self.config["components"]
                  if part["type"] == "timer"}  # fmt: skip
        for event in self.config["dependencies"]:
            for target, kind in _targets(event):
                if target in clocks and kind == "tick" and self.part(name)["id"] in event["outputs"]:
                    return Clock(part=target, event=event, every=clocks[target])
        raise LookupError(f"no clock keeps {name} up to date")


@dataclass(slots=True, kw_only=True)
class Clock:
    """Sets `event` off all `every` seconds, which the answer to another event may change."""

    part: int
    event: Json
    every: float

    def heed(self, event: Json, answer: str) -> None:
        """Goes as the answer to `event` says it should."""
        told = json.loads(answer)["data"][event["outputs"].index(self.part)]
        self.every = float(told.get("value", self.every))


def _targets(event: Json) -> list[Any]:
    return [list(target) for target in event["targets"]]


@dataclass(slots=True)
class Window:
    """The time that counts, by time.monotonic(). It begins once all readers have heard something."""

    since: float = float("inf")
    until: float = float("inf")

    def open(self, seconds: float) -> None:
        self.since = time.monotonic()
        self.until = self.since + seconds


@dataclass(slots=True)
class Behind:
    """How late text came to one reader, by its marks; those made outside of the window do not count.

    `late`: seconds, one for each mark; `gaps`: between two pieces that brought any.
    """

    window: Window
    late: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    _newest: float = 0.0
    _came: float | None = None

    def take(self, text: str) -> None:
        """A piece that has just come."""
        now = time.monotonic()
        fresh = [made for made in map(float, MARK.findall(text)) if made > self._newest]
        if not fresh:
            return
        self.begun.set()
        self._newest = max(fresh)
        counted = [now - made for made in fresh if self.window.since <= made < self.window.until]
        if counted:
            self.late += counted
            if self._came is not None:
                self.gaps.append(now - self._came)
            self._came = now


@dataclass(slots=True)
class Page:
    """One that was opened; others share `layout` and `http`. `http` is signed in, with the page's address as base."""

    http: httpx.AsyncClient
    layout: Layout
    session: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    async def fire(self, event: Json, values: Mapping[int, Any], event_data: Any = None) -> None:
        """Set an event off that waits in the queue, as a click does. Its answer comes by `heard`."""
        body = self._body(event, values, event_data)
        (await self.http.post("gradio_api/queue/join", json=body)).raise_for_status()

    async def ask(self, event: Json, values: Mapping[int, Any]) -> str:
        """The answer to an event that waits in no queue, such as a clock's."""
        body = self._body(event, values, None)
        return (await self.http.post("gradio_api/run/predict", json=body)).raise_for_status().text

    async def heard(self) -> AsyncIterator[str]:
        """What the page is told, until the server says that all that was set off has ended."""
        told = {"session_hash": self.session}
        async with self.http.stream("GET", "gradio_api/queue/data", params=told) as response:
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    yield line
                    if '"close_stream"' in line:
                        return

    def _body(self, event: Json, values: Mapping[int, Any], event_data: Any) -> Json:
        data = [values.get(part_id, self.layout.value(part_id)) for part_id in event["inputs"]]
        trigger = _targets(event)[0][0]
        return {"data": data, "fn_index": event["id"], "session_hash": self.session, "event_data": event_data,
                "trigger_id": trigger}  # fmt: skip


@asynccontextmanager
async def opened(url: str, token: str) -> AsyncIterator[tuple[httpx.AsyncClient, Layout]]:
    """The owner's page of the server at `url`."""
    # The server drops a connection that rested for five seconds; a browser would ask again, httpx does not.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        base_url=f"{url}/studio/", headers=headers, limits=limits, timeout=ANSWER_S, trust_env=False
    ) as http:
        config = (await http.get("config")).raise_for_status()
        yield http, Layout(json.loads(config.text))


async def settled(page: Page) -> list[Json]:
    """Hear an event to its end. Returns the events that it sets off in its turn, by values that the server keeps."""
    changed: set[int] = set()
    async with asyncio.timeout(ANSWER_S):
        async for told in page.heard():
            output = json.loads(told.removeprefix("data:")).get("output") or {}
            changed.update(output.get("changed_state_ids") or ())
    return page.layout.changes(changed)
