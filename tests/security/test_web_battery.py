"""Every route of the real application, as nobody, as a guest, as the owner and with another key; and ways around them.

Which routes there are is asked of the application. Who else is closed out where is held by
tests/integration/test_routes.py (guests, and a private page), test_gate_siblings.py (pages of other links),
test_gate_programs.py (keys at the models) and tests/unit/test_access.py (hosts, origins, limits).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from spaces_runner import core
from spaces_runner.core import keys
from spaces_runner.settings import Settings
from tests.integration.test_routes import Route, concrete, guests, routes
from tests.support.web import TOKEN, WebServer, serving

__all__ = ["routes"]  # a fixture
PROGRAMS = ("/v1/{path:path}", "/tgi/{path:path}")  # where a key is one
FILES = {"audio", "file", "gallery", "image", "imageeditor", "multimodaltextbox", "uploadbutton", "video"}
SECRET = "hf_the_owners_own_secret_line"
OUTSIDE = {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}


@pytest.fixture(scope="module")
def server(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with serving(shared_settings, tmp_path_factory.mktemp("battery")) as started:
        yield started
    core.stop(shared_settings)  # a page that was asked for has woken it


@pytest.fixture
def owner(server: WebServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=10) as client:
        yield client


@pytest.fixture
def guest(server: WebServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=10) as client:
        client.get("/")
        assert client.cookies
        yield client


@pytest.fixture
def key(shared_settings: Settings) -> Iterator[str]:
    """A key that the owner has given to a program."""
    yield keys.issue(shared_settings, "battery")
    keys.withdraw(shared_settings, "battery")


# Every route


def asked(client: httpx.Client, found: list[Route]) -> dict[Route, int]:
    """The status of each route. What streams is not waited for."""
    answers = {}
    for method, path in found:
        with client.stream(method, concrete(path)) as answer:
            answers[method, path] = answer.status_code
    return answers


def test_a_wrong_key_opens_nothing_that_nobody_is_closed_out_of(
    routes: list[Route], server: WebServer, key: str
) -> None:
    """A key is for the models alone: at every other route its bearer is less than a guest, or as much."""
    elsewhere = [route for route in routes if route[1] not in (*PROGRAMS, "/healthz")]
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {key}"}, timeout=10) as program:
        opened = {route for route, status in asked(program, elsewhere).items() if status < 400}
    assert {(method, path) for method, path in opened if not guests(method, path)} == set()


def test_a_page_elsewhere_gets_nothing_done_at_any_route(
    routes: list[Route], owner: httpx.Client, guest: httpx.Client
) -> None:
    """By the owner's or a guest's cookie, which a browser may send along: nobody may read an answer, either."""
    signed_in = httpx.Client(base_url=owner.base_url, timeout=10)
    with signed_in:
        signed_in.get("/", params={"token": TOKEN})
        for client in (signed_in, guest):
            for method, path in routes:
                with client.stream(method, concrete(path), headers=OUTSIDE) as answer:
                    allowed = answer.headers.get("access-control-allow-origin")
                    assert allowed in (None, ""), (method, path, allowed)
                    safe = method in ("GET", "HEAD", "OPTIONS")
                    assert safe or answer.status_code >= 400, (method, path, answer.status_code)


def test_a_preflight_from_elsewhere_allows_nothing(routes: list[Route], server: WebServer) -> None:
    asks = {**OUTSIDE, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with httpx.Client(base_url=server.url, timeout=10) as browser:
        for path in sorted({path for _, path in routes}):
            answer = browser.options(concrete(path), headers=asks)
            assert "access-control-allow-origin" not in answer.headers, path
            assert "access-control-allow-credentials" not in answer.headers, path


def test_every_answer_of_every_route_is_closed_to_frames_and_sniffing(routes: list[Route], server: WebServer) -> None:
    with httpx.Client(base_url=server.url, timeout=10) as nobody:
        for method, path in routes:
            with nobody.stream(method, concrete(path)) as answer:
                assert answer.headers.get("x-content-type-options") == "nosniff", (method, path)
                assert answer.headers.get("referrer-policy") == "no-referrer", (method, path)


# Path traversal, as whoever may ask most


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, shared_settings: Settings) -> tuple[Path, Path]:
    """A file of the owner's, and one in the state directory."""
    outside = tmp_path_factory.mktemp("owners") / "secret.txt"
    inside = shared_settings.home_dir / "planted.txt"
    for path in (outside, inside):
        path.write_text(SECRET)
    return outside, inside


TRAVERSALS = [
    *(
        "/gradio_api/file={path}",
        "/gradio_api/file=..{path}",
        "/gradio_api/file=%2e%2e{path}",
        "/gradio_api/file//{path}",
    ),
    *("/static/..{path}", "/static/%2e%2e/%2e%2e{path}", "/assets/../../../../../..{path}", "/svelte/..%2f..{path}"),
    *("/assets/..%5c..%5c{path}", "/static//{path}", "/theme.css/..{path}", "/gradio_api/file=file://{path}"),
    *("/gradio_api/file=/proc/self/environ", "/gradio_api/file=/proc/self/fd/0", "/gradio_api/stream/..%2f..{path}"),
    *("/conversations/..%2f..{path}", "/logs/..%2f..{path}/run.log", "/logs/x/..%2f..%2fplanted.txt.log"),
    *("/previews/..%2f..{path}", "/gradio_api/custom_component/..%2f/..%2f/client/..{path}", "/pwa_icon/..%2f..{path}"),
]


@pytest.mark.parametrize("prefix", ["", "/studio"])
@pytest.mark.parametrize("way", TRAVERSALS)
def test_no_path_leads_to_a_file(owner: httpx.Client, planted: tuple[Path, Path], prefix: str, way: str) -> None:
    for path in planted:
        request = owner.build_request("GET", "/")
        request.url = request.url.copy_with(raw_path=f"{prefix}{way.format(path=path)}".encode())
        answer = owner.send(request)
        assert SECRET not in answer.text
        assert TOKEN not in answer.text  # of the process' own arguments and environment
        assert answer.status_code >= 400 or "text/html" in answer.headers["content-type"], answer.status_code


# The server as somebody who asks others


class Inner(ThreadingHTTPServer):
    """A service that only this machine can reach."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    server: Inner

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def inner() -> Iterator[Inner]:
    with Inner() as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening
        listening.shutdown()


FETCHES = [
    *(
        "/gradio_api/file={url}",
        "/gradio_api/file=http:/{host}/x",
        "/gradio_api/proxy={url}",
        "/gradio_api/proxy=//{host}",
    ),
    *("/v1/{url}", "/v1/@{host}/x", "/v1/..//{host}/x", "/tgi/{url}", "/tgi/%2f%2f{host}/x", "/previews/{host}"),
    *("/?__theme={url}", "/login?next={url}", "/gradio_api/deep_link?url={url}", "/assets/{url}"),
]


@pytest.mark.parametrize("prefix", ["", "/studio"])
@pytest.mark.parametrize("way", FETCHES)
def test_the_server_fetches_nothing_for_anybody(owner: httpx.Client, inner: Inner, prefix: str, way: str) -> None:
    host = f"127.0.0.1:{inner.server_address[1]}"
    request = owner.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=f"{prefix}{way.format(host=host, url=f'http://{host}/x')}".encode())
    answer = owner.send(request)
    assert inner.asked == []
    assert urlsplit(answer.headers.get("location", "")).netloc in ("", owner.base_url.netloc.decode())


def test_a_file_that_names_an_address_is_not_fetched(guest: httpx.Client, owner: httpx.Client, inner: Inner) -> None:
    """Gradio's own pages hand files on by name; a name that is an address must not make the server ask there."""
    url = f"http://127.0.0.1:{inner.server_address[1]}/x.png"
    file = {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}
    for client, prefix in ((guest, ""), (owner, "/studio")):
        listed = client.get(f"{prefix}/config").json()
        takers = {one["id"] for one in listed["components"] if one["type"] in FILES}
        functions = [one["id"] for one in listed["dependencies"] if takers & set(one["inputs"])]
        assert functions or client is owner
        for function in functions:
            asks = {"data": [file] * 3, "fn_index": function, "session_hash": "battery"}
            client.post(f"{prefix}/gradio_api/queue/join", json=asks)
    assert inner.asked == []


def test_no_answer_tells_the_token(routes: list[Route], guest: httpx.Client) -> None:
    for method, path in routes:
        with guest.stream(method, concrete(path)) as answer:
            assert TOKEN not in str(answer.headers), (method, path)
            if not re.search("heartbeat|stream|queue", path):
                assert TOKEN not in answer.read().decode(errors="replace"), (method, path)
