"""A page on another share link, which a browser takes for the same site as ours, at every route of the server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from spaces_runner.settings import Settings
from tests.integration.test_routes import Route, concrete, routes
from tests.support.web import TOKEN, WebServer, serving

OURS = "0123456789abcdef01.gradio.live"
THEIRS = "ffffffffffffffff01.gradio.live"
ARRIVING = ("/", "/studio", "/studio/")  # pages that a person may follow a link to: they show, and do nothing
# How a browser sends what a page at THEIRS asks of OURS: by script, by a form, by an image, in a frame.
SENT = {
    "script": {"origin": f"https://{THEIRS}", "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    "old-script": {"origin": f"https://{THEIRS}"},
    "hidden": {"origin": "null", "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    "image": {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    "frame": {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
}
__all__ = ["routes"]  # a fixture


@pytest.fixture(scope="module")
def server(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with serving(shared_settings, tmp_path_factory.mktemp("siblings"), ["--allow-host", f"https://{OURS}"]) as started:
        yield started


@pytest.fixture
def owner(server: WebServer) -> Iterator[httpx.Client]:
    """The owner's browser as the server sees it through our link: with its cookie in every request."""
    with httpx.Client(base_url=server.url, headers={"host": OURS}, timeout=20) as browser:
        signed_in = browser.get(f"/?token={TOKEN}")
        cookie = signed_in.headers["set-cookie"]
        assert re.match("__Host-[^=]+=", cookie) and "Domain" not in cookie and "Secure" in cookie
        browser.headers["cookie"] = cookie.partition(";")[0]
        browser.cookies.clear()
        yield browser


def test_the_cookie_is_the_owners(owner: httpx.Client) -> None:
    same = {"origin": f"https://{OURS}", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert owner.get("/studio/config", headers=same).status_code == 200
    assert owner.post("/studio/gradio_api/call/spaces", json={"data": []}, headers=same).status_code == 200


@pytest.mark.parametrize("way", SENT)
def test_it_rides_on_it_nowhere(routes: list[Route], owner: httpx.Client, way: str) -> None:
    let_in = [
        (method, path)
        for method, path in routes
        if (answer := owner.request(method, concrete(path), headers=SENT[way])).status_code != 403
        or "access-control-allow-origin" in answer.headers
    ]
    assert let_in == []


def test_a_link_that_a_person_follows_shows_a_page_and_starts_nothing(routes: list[Route], owner: httpx.Client) -> None:
    followed = {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    let_in = {
        path for method, path in routes if owner.request(method, concrete(path), headers=followed).status_code != 403
    }
    assert let_in == set(ARRIVING) - {"/studio"}


def test_the_cookie_of_one_link_is_nothing_on_another(server: WebServer, owner: httpx.Client) -> None:
    at_home = {"host": server.url.removeprefix("http://"), "cookie": owner.headers["cookie"]}
    assert httpx.get(f"{server.url}/studio/config", headers=at_home).status_code == 401
    renamed = {
        **at_home,
        "cookie": re.sub("^[^=]+", f"spaces-runner-{server.url.rpartition(':')[2]}", at_home["cookie"]),
    }
    assert httpx.get(f"{server.url}/studio/config", headers=renamed).status_code == 401


def test_a_host_that_is_not_ours_is_not_answered(owner: httpx.Client) -> None:
    assert owner.get("/studio/config", headers={"host": THEIRS}).status_code == 421
