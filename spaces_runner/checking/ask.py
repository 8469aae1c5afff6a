"""Asks a running Space as a visitor does: its page, and one call where it is a Gradio app."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from urllib.parse import urlsplit

import httpx

from spaces_runner.checking import gradio_http
from spaces_runner.checking.endpoints import Endpoint, endpoints
from spaces_runner.checking.values import Call

PAGE_S = 30.0  # for a page to answer 200 after its app was seen to answer
TRIES = 3  # endpoints; the author's first one may want what nobody could guess
_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`status` of the page, 0 where it did not answer; `version` of Gradio, "" where there is none to ask."""

    status: int
    version: str = ""
    call: Call | None = None
    seconds: float = 0.0  # until the page answered

    @property
    def page(self) -> bool:
        return self.status == 200


def ask(where: Callable[[], str], deadline: float, stop: Event) -> Answer:
    """Asks the app, until `deadline` (monotonic). Never raises for what the app does.

    `where` is asked for its address at every try: an app may close what it has launched and launch another.
    """
    with httpx.Client(timeout=PAGE_S, follow_redirects=True, trust_env=False) as web:
        begun = time.monotonic()
        status, address = _page(web, where, min(deadline, begun + PAGE_S), stop)
        seconds = time.monotonic() - begun
        if status != 200 or stop.is_set():
            return Answer(status=status, seconds=seconds)
        try:
            app = gradio_http.find(web, address, _root(address))
        except (httpx.HTTPError, gradio_http.LoginNeeded) as error:
            why = "it asks for a login" if isinstance(error, gradio_http.LoginNeeded) else f"no configuration ({error})"
            return Answer(status=status, call=Call(endpoint="", answered=False, note=why), seconds=seconds)
        if app is None:
            return Answer(status=status, seconds=seconds)
        return Answer(status=status, version=app.version, call=one_call(app, deadline, stop), seconds=seconds)


def one_call(app: gradio_http.App, deadline: float, stop: Event) -> Call:
    """The first endpoint of a few that answers; where none does, what the likeliest said."""
    possible = endpoints(app.config)[:TRIES]
    if not possible:
        return Call(endpoint="", answered=False, note="no endpoint whose inputs could be made up")
    first: Call | None = None
    for endpoint in possible:
        if stop.is_set() or time.monotonic() > deadline:
            break
        call = _try(app, endpoint, deadline)
        if call.answered:
            return call
        first = first or call
    return first or Call(endpoint=str(possible[0]), answered=False, note="there was no time left")


def _try(app: gradio_http.App, endpoint: Endpoint, deadline: float) -> Call:
    begun = time.monotonic()
    note, answered = ("with the author's example" if endpoint.examples else ""), True
    try:
        gradio_http.call(app, endpoint, deadline)
    except gradio_http.CallFailed as error:
        note, answered = str(error), False
    seconds = round(time.monotonic() - begun, 3)
    return Call(endpoint=str(endpoint), answered=answered, note=note, seconds=seconds)


def _page(web: httpx.Client, where: Callable[[], str], deadline: float, stop: Event) -> tuple[int, str]:
    """The page's status and where it was found. What is not 200 is asked for again: an app may still be on its way."""
    while True:
        status, address = 0, where()
        try:
            answer = web.get(address)
            status, address = answer.status_code, str(answer.url.copy_with(query=None, fragment=None))
        except httpx.HTTPError:  # nothing listens there, yet or any more
            status = 0
        if status == 200 or status in range(400, 500) or time.monotonic() > deadline or stop.wait(_AGAIN_S):
            return status, address


def _root(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"
