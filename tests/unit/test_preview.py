"""Which link of a Space its preview shows, and whether an app lets itself be framed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from app import preview
from app.views import preview as view
from app.views import spaces
from spaces_runner.types import SpaceStatus, Stage

RUNNING = SpaceStatus(
    id="one", space="a/one", revision=None, stage=Stage.RUNNING, local_url="http://127.0.0.1:20000/",
    share_url="https://x.gradio.live/", ready_at="2026-01-01T00:00:00+00:00",
)  # fmt: skip
LOCAL_ONLY = replace(RUNNING, share_url=None)
STOPPED = replace(RUNNING, stage=Stage.STOPPED, local_url=None, share_url=None)
PAGE = "http://127.0.0.1:7860"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_local_page_shows_the_local_link(host: str) -> None:
    assert preview.link(RUNNING, host) == ("http://127.0.0.1:20000/", "")


def test_a_page_from_elsewhere_shows_the_public_link() -> None:
    assert preview.link(RUNNING, "page.gradio.live") == ("https://x.gradio.live/", "")
    assert preview.link(LOCAL_ONLY, "page.gradio.live")[0] is None
    assert "no public link" in preview.link(LOCAL_ONLY, "page.gradio.live")[1]
    assert preview.link(STOPPED, "127.0.0.1") == (None, "a/one is not running.")


@pytest.mark.parametrize(
    ("headers", "forbidden"),
    [
        ({}, False),
        ({"x-frame-options": "DENY"}, True),
        ({"x-frame-options": "SameOrigin"}, True),
        ({"x-frame-options": "ALLOWALL"}, False),
        ({"content-security-policy": "default-src 'self'"}, False),
        ({"content-security-policy": "default-src 'self'; frame-ancestors 'none'"}, True),
        ({"content-security-policy": "frame-ancestors https://huggingface.co;"}, True),
        ({"content-security-policy": "frame-ancestors 'self' *"}, False),
        ({"content-security-policy": f"FRAME-ANCESTORS {PAGE}"}, False),
        ({"content-security-policy": "frame-ancestors http:", "x-frame-options": "DENY"}, False),
        ({"content-security-policy": "script-src 'self', frame-ancestors 'none'"}, True),
    ],
)
def test_an_app_says_by_its_headers_whether_it_may_be_framed(headers: dict[str, str], forbidden: bool) -> None:
    assert preview.forbids(headers, PAGE) is forbidden


class _Strict(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keeps the output of the tests clean."""


@contextmanager
def strict_app() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Strict) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join(10)


def test_an_app_is_asked_before_it_is_framed() -> None:
    with strict_app() as url:
        assert "forbids" in asyncio.run(preview.refusal(url, PAGE))
    assert "does not answer" in asyncio.run(preview.refusal(url, PAGE))


def test_only_what_runs_can_be_previewed() -> None:
    assert 'data-action="preview"' in spaces.render([RUNNING], None, 0.0)
    assert 'data-action="preview"' not in spaces.render([STOPPED], None, 0.0)


def test_what_runs_can_be_removed_as_what_does_not() -> None:
    for status, others in ((RUNNING, ("restart", "stop")), (STOPPED, ("restart",))):
        shown = spaces.render([status], None, 0.0)
        assert all(f'data-action="{action}"' in shown for action in (*others, "remove"))
    assert 'data-action="stop"' not in spaces.render([STOPPED], None, 0.0)


def test_another_run_is_another_frame_and_a_name_no_markup() -> None:
    first = view.part(replace(RUNNING, space='"><script>'))
    assert "<script>" not in first
    assert view.part(replace(RUNNING, ready_at="2026-01-02T00:00:00+00:00")) != view.part(RUNNING)
    shown = view.frame("http://127.0.0.1:20000/?a=1&b=%22", '"><script>')
    assert "<script>" not in shown and "allow-top-navigation" not in shown
