"""Calls an endpoint of a Gradio app over plain HTTP, whichever Gradio since 2.9 it is.

Not with gradio_client: none of the time of Gradio 2 to 3.29 can be had, the newest does not speak to Gradio 3, and each
would want an environment of its own. Three ways cover them all, and the first that the app has is taken:

    4.20 and newer   POST call/NAME, then its events as server-sent events
    3 and 4          POST run/predict with the function's number, past the queue, which apps allow unless they say not
    2                POST api/predict/

Source: gradio's routes.py from 2.9 to 6.31; https://www.gradio.app/guides/querying-gradio-apps-with-curl
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from spaces_runner.checking import media
from spaces_runner.checking.endpoints import Endpoint, Media
from spaces_runner.sanitize import clean_line

READ_S = 60.0  # between two signs of life: a queue sends one every fifteen seconds
SESSION = "spacesrunner"  # any word will do
_NOT_HERE = (404, 405)
_LONGEST = 300  # characters of what an app says of its failure


class LoginNeeded(Exception):
    """The app shows itself only to who signs in."""


class CallFailed(Exception):
    """Why, in the app's own words where it has some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A Gradio app at `address`, which ends with `/`."""

    web: httpx.Client
    address: str
    config: Mapping[str, Any]

    @property
    def root(self) -> str:
        """Where its routes are: from Gradio 5 on below a prefix."""
        return self.address.rstrip("/") + str(self.config.get("api_prefix") or "") + "/"

    @property
    def version(self) -> str:
        return str(self.config.get("version") or "").strip()[:40]

    @property
    def major(self) -> int:
        """0 where it does not say, as before Gradio 3."""
        number = self.version.partition(".")[0]
        return int(number) if number.isdigit() else 0


def find(web: httpx.Client, *addresses: str) -> App | None:
    """The app at the first of the addresses with one; None where there is none. Raises LoginNeeded."""
    for address in dict.fromkeys(addresses):
        answer = web.get(address.rstrip("/") + "/config")
        if answer.status_code == 401:
            raise LoginNeeded
        config = _json(answer) if answer.status_code == 200 else None
        if isinstance(config, dict) and ("components" in config or "input_components" in config):
            return App(web=web, address=address, config=config)
    return None


def call(app: App, endpoint: Endpoint, deadline: float) -> None:
    """Returns once it has answered. Raises CallFailed, also when it has not by `deadline` (monotonic)."""
    try:
        data = [_sent(app, value) for value in endpoint.values]
        if app.major >= 4 and endpoint.name and _by_events(app, endpoint, data, deadline):
            return
        _directly(app, endpoint, data, deadline)
    except httpx.TimeoutException:
        raise CallFailed("it did not answer in time") from None
    except httpx.HTTPError as error:
        raise CallFailed(f"{type(error).__name__}: {error}"[:_LONGEST]) from None


def _by_events(app: App, endpoint: Endpoint, data: list[Any], deadline: float) -> bool:
    """False where the app has no such route."""
    url = f"{app.root}call/{endpoint.name}"
    ours = [value for at, value in enumerate(data) if at not in endpoint.states]
    asked = app.web.post(url, json={"data": ours}, timeout=_patience(deadline))
    if asked.status_code in _NOT_HERE:
        return False
    event_id = _told(asked).get("event_id")
    if not isinstance(event_id, str):
        raise CallFailed("its queue gave no number to the call")
    with app.web.stream("GET", f"{url}/{event_id}", timeout=_patience(deadline)) as events:
        for name, told in _events(events, deadline):
            if name == "complete":
                return True
            if name == "error":
                raise CallFailed(_words(told) or "the app's function failed; its log says why")
    raise CallFailed("its events ended without an answer")


def _events(answer: httpx.Response, deadline: float) -> Iterator[tuple[str, Any]]:
    """Names and contents of server-sent events. https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    if answer.status_code != 200:
        raise CallFailed(f"it answered {answer.status_code}")
    name = ""
    for line in answer.iter_lines():
        if time.monotonic() > deadline:
            raise CallFailed("it did not answer in time")
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            yield name, _parsed(value)


def _directly(app: App, endpoint: Endpoint, data: list[Any], deadline: float) -> None:
    """In one request and past the queue."""
    body = {"data": data, "fn_index": endpoint.index, "session_hash": SESSION}
    path = "run/predict" if app.major >= 3 else "api/predict/"
    answer = app.web.post(app.root + path, json=body, timeout=_patience(deadline))
    if answer.status_code in _NOT_HERE and app.major == 3:  # before 3.1 as in Gradio 2
        answer = app.web.post(f"{app.root}api/predict/", json=body, timeout=_patience(deadline))
    if "data" not in _told(answer):
        raise CallFailed("its answer has no data")


def _told(answer: httpx.Response) -> Mapping[str, Any]:
    told = _json(answer)
    if answer.status_code != 200:
        words = _words(told)
        raise CallFailed(f"it answered {answer.status_code}" + (f": {words}" if words else ""))
    return told if isinstance(told, dict) else {}


def _sent(app: App, value: Any) -> Any:
    """`value` as the app takes it: a file is uploaded from Gradio 4 on, and before is part of the call."""
    if not isinstance(value, Media):
        return value
    if app.major >= 4:
        file = (media.name(value), media.content(value), media.kind(value))
        paths = _json(app.web.post(f"{app.root}upload", files={"files": file}))
        if not isinstance(paths, list) or not paths:
            raise CallFailed("it took no upload")
        return {"path": paths[0], "orig_name": file[0], "meta": {"_type": "gradio.FileData"}}
    if value is Media.IMAGE:
        return media.data_url(value)
    return {"name": media.name(value), "data": media.data_url(value)}


def _patience(deadline: float) -> httpx.Timeout:
    left = max(0.1, deadline - time.monotonic())
    return httpx.Timeout(left, read=min(left, READ_S) if left > READ_S else left)


def _words(told: Any) -> str:
    """What an error says, which has stood in different places."""
    if isinstance(told, dict):
        told = next((told[name] for name in ("error", "detail", "message") if told.get(name)), "")
    return clean_line(told if isinstance(told, str) else json.dumps(told) if told else "")[:_LONGEST]


def _json(answer: httpx.Response) -> Any:
    return _parsed(answer.text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
