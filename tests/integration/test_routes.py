"""Every route of the web server, and who gets an answer there: everybody, guests, the owner alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from spaces_runner.settings import Settings
from tests.support.web import ROOT, TOKEN, WebServer, serving

# What each of the two pages is made of. A new version of Gradio that brings another route fails the test below, so
# that somebody looks at it.
PAGE = [
    "/",
    "/assets/{path:path}",
    "/config",
    "/config/",
    "/favicon.ico",
    "/gradio_api/api/{api_name}",
    "/gradio_api/api/{api_name}/",
    "/gradio_api/app_id",
    "/gradio_api/app_id/",
    "/gradio_api/call/v2/{api_name}",
    "/gradio_api/call/v2/{api_name}/",
    "/gradio_api/call/v2/{api_name}/{event_id}",
    "/gradio_api/call/{api_name}",
    "/gradio_api/call/{api_name}/",
    "/gradio_api/call/{api_name}/{event_id}",
    "/gradio_api/cancel",
    "/gradio_api/component_server",
    "/gradio_api/component_server/",
    "/gradio_api/custom_component/{id}/{environment}/{type}/{file_name}",
    "/gradio_api/deep_link",
    "/gradio_api/dev/reload",
    "/gradio_api/file/{path:path}",
    "/gradio_api/file={path_or_url:path}",
    "/gradio_api/heartbeat/{session_hash}",
    "/gradio_api/info",
    "/gradio_api/info/",
    "/gradio_api/login_check",
    "/gradio_api/login_check/",
    "/gradio_api/openapi.json",
    "/gradio_api/process_recording",
    "/gradio_api/proxy={url_path:path}",
    "/gradio_api/queue/data",
    "/gradio_api/queue/join",
    "/gradio_api/queue/status",
    "/gradio_api/reset",
    "/gradio_api/reset/",
    "/gradio_api/run/{api_name}",
    "/gradio_api/run/{api_name}/",
    "/gradio_api/runs",
    "/gradio_api/runs/",
    "/gradio_api/startup-events",
    "/gradio_api/stream/{event_id}",
    "/gradio_api/stream/{event_id}/close",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}",
    "/gradio_api/theme.css",
    "/gradio_api/token",
    "/gradio_api/token/",
    "/gradio_api/undo-vibe-edit",
    "/gradio_api/undo-vibe-edit/",
    "/gradio_api/upload",
    "/gradio_api/upload_progress",
    "/gradio_api/user",
    "/gradio_api/user/",
    "/gradio_api/vibe-code",
    "/gradio_api/vibe-code/",
    "/gradio_api/vibe-edit",
    "/gradio_api/vibe-edit/",
    "/gradio_api/vibe-starter-queries",
    "/gradio_api/vibe-starter-queries/",
    "/login",
    "/login/",
    "/logout",
    "/manifest.json",
    "/monitoring",
    "/monitoring/summary",
    "/monitoring/{key}",
    "/pwa_icon",
    "/pwa_icon/{size}",
    "/robots.txt",
    "/static/{path:path}",
    "/svelte/{path:path}",
    "/theme.css",
]
GUESTS_TOO = ["/healthz", "/conversations/{name}"]
OURS = [
    *GUESTS_TOO,
    "/logs/{space_id}/{which}.log",
    "/metrics",
    "/previews/{space_id}",
    "/tgi/{path:path}",
    "/v1/{path:path}",
]
# What a guest's page needs, by method. Everything else is the owner's.
GUEST = {
    "GET": [
        "/",
        "/assets/{path:path}",
        "/config",
        "/favicon.ico",
        "/gradio_api/app_id",
        "/gradio_api/call/chat/{event_id}",
        "/gradio_api/file={path_or_url:path}",
        "/gradio_api/heartbeat/{session_hash}",
        "/gradio_api/info",
        "/gradio_api/queue/data",
        "/gradio_api/startup-events",
        "/gradio_api/theme.css",
        "/gradio_api/upload_progress",
        "/manifest.json",
        "/robots.txt",
        "/static/{path:path}",
        "/svelte/{path:path}",
        "/theme.css",
    ],
    "POST": [
        "/gradio_api/call/chat",
        "/gradio_api/cancel",
        "/gradio_api/queue/join",
        "/gradio_api/reset",
        "/gradio_api/run/predict",
        "/gradio_api/upload",
    ],
}
CLOSED = {401, 403, 404}
Route = tuple[str, str]  # method and path


@pytest.fixture(scope="module")
def server(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with serving(shared_settings, tmp_path_factory.mktemp("web")) as started:
        yield started


@pytest.fixture(scope="module")
def routes(shared_settings: Settings) -> list[Route]:
    """The method and path of every route of the application."""
    env = WebServer.command(shared_settings, []).env
    listed = subprocess.run(
        [sys.executable, "-m", "tests.support.routes"],
        env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return [(method, path) for path, methods in map(json.loads, listed.stdout.splitlines()) for method in methods]


def concrete(path: str) -> str:
    return re.sub(r"{[^}]*}", "x", path)


def guests(method: str, path: str) -> bool:
    """Whether a guest gets an answer at a route. `run` and `call` are routes for any name, and a guest's for one."""
    listed = GUEST.get("GET" if method == "HEAD" else method, [])
    return path.rstrip("/") in [known.rstrip("/") for known in listed] and not path.startswith("/studio")


def test_every_route_is_known(routes: list[Route]) -> None:
    assert len(routes) > 100
    known = {*OURS, *PAGE, *(f"/studio{path}" for path in PAGE)}
    assert sorted({path for _, path in routes} - known) == []


def test_every_route_is_closed_to_guests_but_for_those_they_need(routes: list[Route], server: WebServer) -> None:
    with httpx.Client(base_url=server.url, timeout=10) as guest:
        guest.get("/")
        assert guest.cookies
        for method, path in routes:
            if guests(method, path) or path in GUESTS_TOO:
                continue
            answer = guest.request(method, concrete(path))
            assert answer.status_code in CLOSED, (method, path, answer.status_code)


def test_what_guests_need_answers(server: WebServer) -> None:
    """The routes that answer without a session; the others are used by the tests of the page."""
    with httpx.Client(base_url=server.url, timeout=10) as guest:
        assert guest.get("/").status_code == 200
        for path in ("/config", "/theme.css", "/gradio_api/info", "/gradio_api/app_id", "/healthz"):
            assert guest.get(path).status_code == 200, path


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/run/launch"),
        ("POST", "/gradio_api/call/launch"),
        ("POST", "/gradio_api/call/spaces"),
        ("POST", "/gradio_api/call/v2/chat"),
        ("POST", "/gradio_api/api/chat"),
        ("GET", "/gradio_api/call/launch/0123"),
        ("GET", "/gradio_api/file=../../etc/passwd"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1:1/"),
        ("GET", "/studio/../studio/config"),
        ("GET", "/%73tudio/config"),
        ("GET", "//studio/config"),
        ("GET", "/v1/models"),
        ("GET", "/tgi/guanaco-7b/info"),
        ("GET", "/metrics"),
        ("GET", "/logs/greeter/run.log"),
        ("GET", "/conversations/0123456789abcdef0123456789abcdef.json"),
        ("GET", "/conversations/../state.db"),
        ("PUT", "/config"),
        ("DELETE", "/conversations/0123456789abcdef0123456789abcdef.json"),
    ],
)
def test_a_guest_finds_no_way_around(server: WebServer, method: str, path: str) -> None:
    with httpx.Client(base_url=server.url, timeout=10) as guest:
        guest.get("/")
        request = guest.build_request(method, "/")
        request.url = request.url.copy_with(raw_path=path.encode())
        assert guest.send(request).status_code in CLOSED


def test_the_guests_page_says_nothing_of_the_runner(server: WebServer, shared_settings: Settings) -> None:
    shown = httpx.get(f"{server.url}/config").text + httpx.get(f"{server.url}/gradio_api/info").text
    for word in ("launch", "Secret", "Inspect", "restart", shared_settings.home):
        assert word not in shown


def test_without_guests_everything_is_closed(
    routes: list[Route], settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        serving(settings, tmp_path_factory.mktemp("private"), ["--private"]) as private,
        httpx.Client(base_url=private.url, timeout=10) as nobody,
    ):
        answers = {(method, path): nobody.request(method, concrete(path)).status_code for method, path in routes}
        assert answers.pop(("GET", "/healthz")) == 200
        assert {key: status for key, status in answers.items() if status != 401} == {}
        assert nobody.get("/studio/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
