"""The web server as it is started: every route behind the gate, its token, its port, its public link, its API."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client

from app.listening import bind, stored_token
from spaces_runner.settings import Settings
from tests.support.share import Share
from tests.support.web import ROOT, TOKEN, WebServer, serving

# Every route that there is. A new version of Gradio or FastAPI that brings another one fails the test below, so that
# somebody looks at it.
KNOWN = [
    "/gradio_api/call/v2/{api_name}/{event_id}",
    "/gradio_api/process_recording",
    "/gradio_api/runs/",
    "/gradio_api/theme.css",
    "/gradio_api/undo-vibe-edit",
    "/gradio_api/undo-vibe-edit/",
    "/gradio_api/vibe-code",
    "/gradio_api/vibe-code/",
    "/gradio_api/vibe-edit",
    "/gradio_api/vibe-edit/",
    "/gradio_api/vibe-starter-queries",
    "/gradio_api/vibe-starter-queries/",
    "/healthz",
    "/",
    "/config",
    "/config/",
    "/login",
    "/login/",
    "/logout",
    "/theme.css",
    "/favicon.ico",
    "/robots.txt",
    "/manifest.json",
    "/pwa_icon",
    "/pwa_icon/{size}",
    "/svelte/{path:path}",
    "/static/{path:path}",
    "/assets/{path:path}",
    "/monitoring",
    "/monitoring/summary",
    "/monitoring/{key}",
    "/gradio_api/deep_link",
    "/gradio_api/info",
    "/gradio_api/info/",
    "/gradio_api/openapi.json",
    "/gradio_api/runs",
    "/gradio_api/app_id",
    "/gradio_api/app_id/",
    "/gradio_api/user",
    "/gradio_api/user/",
    "/gradio_api/token",
    "/gradio_api/token/",
    "/gradio_api/dev/reload",
    "/gradio_api/login_check",
    "/gradio_api/login_check/",
    "/gradio_api/startup-events",
    "/gradio_api/proxy={url_path:path}",
    "/gradio_api/file={path_or_url:path}",
    "/gradio_api/file/{path:path}",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file",
    "/gradio_api/stream/{event_id}",
    "/gradio_api/stream/{event_id}/close",
    "/gradio_api/heartbeat/{session_hash}",
    "/gradio_api/component_server",
    "/gradio_api/component_server/",
    "/gradio_api/reset",
    "/gradio_api/reset/",
    "/gradio_api/cancel",
    "/gradio_api/run/{api_name}",
    "/gradio_api/run/{api_name}/",
    "/gradio_api/api/{api_name}",
    "/gradio_api/api/{api_name}/",
    "/gradio_api/call/{api_name}",
    "/gradio_api/call/{api_name}/",
    "/gradio_api/call/{api_name}/{event_id}",
    "/gradio_api/call/v2/{api_name}",
    "/gradio_api/call/v2/{api_name}/",
    "/gradio_api/queue/join",
    "/gradio_api/queue/data",
    "/gradio_api/queue/status",
    "/gradio_api/upload",
    "/gradio_api/upload_progress",
    "/gradio_api/custom_component/{id}/{environment}/{type}/{file_name}",
]


@pytest.fixture(scope="module")
def server(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with serving(shared_settings, tmp_path_factory.mktemp("web")) as started:
        yield started


@pytest.fixture(scope="module")
def routes(shared_settings: Settings) -> list[tuple[str, list[str]]]:
    """The path and methods of every route of the application."""
    env = WebServer.command(shared_settings, []).env
    listed = subprocess.run(
        [sys.executable, "-m", "tests.support.routes"],
        env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return [(path, methods) for path, methods in map(json.loads, listed.stdout.splitlines())]


def test_every_route_is_known(routes: list[tuple[str, list[str]]]) -> None:
    assert len(routes) > 30
    assert sorted({path for path, _ in routes} - set(KNOWN)) == []


def test_every_route_is_closed_to_nobody(routes: list[tuple[str, list[str]]], server: WebServer) -> None:
    with httpx.Client(base_url=server.url, timeout=10) as nobody:
        answers = {
            (method, path): nobody.request(method, re.sub(r"{[^}]*}", "x", path)).status_code
            for path, methods in routes
            for method in methods
        }
    assert answers.pop(("GET", "/healthz")) == 200
    assert {key: status for key, status in answers.items() if status != 401} == {}


def test_the_token_is_kept_in_private(settings: Settings) -> None:
    token = stored_token(settings)
    path = settings.home_dir / "page" / "token"
    assert len(token) >= 40
    assert stored_token(settings) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_taken_port_gives_the_next_one() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with bind("127.0.0.1", port) as second:
            assert port < second.getsockname()[1] < port + 100


def test_the_link_is_printed_and_opens_the_page(server: WebServer) -> None:
    assert f"{server.url}/?token={TOKEN}" in server.output()
    with httpx.Client(follow_redirects=True) as browser:
        page = browser.get(server.link, headers={"accept": "text/html"})
        assert page.status_code == 200 and "Spaces Runner" in page.text
        assert str(page.url) == f"{server.url}/"
        assert browser.get(f"{server.url}/config").json()["title"] == "Spaces Runner"


def test_gradio_answers_no_foreign_origin(server: WebServer) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(f"{server.url}/config", headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    foreign = httpx.options(
        f"{server.url}/gradio_api/queue/join",
        headers={"origin": "https://a.gradio.live", "access-control-request-method": "POST"},
    )
    assert foreign.status_code == 403
    assert "access-control-allow-origin" not in foreign.headers


def test_the_log_in_of_the_state_directory_is_not_served(server: WebServer, shared_settings: Settings) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    path = shared_settings.home_dir / "state.db"
    assert httpx.get(f"{server.url}/gradio_api/file={path}", headers=headers).status_code in (403, 404)


@pytest.fixture(scope="module")
def client(server: WebServer) -> Client:
    return Client(server.url, headers={"Authorization": f"Bearer {TOKEN}"}, verbose=False)


def test_programs_have_named_endpoints(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {"/inspect", "/launch", "/spaces", "/stop", "/restart", "/remove", "/logs"}
    assert isinstance(client.predict(api_name="/spaces"), list)


@pytest.mark.parametrize(
    ("arguments", "api_name", "words"),
    [
        (("https://evil.example/x",), "/launch", "Space"),
        (("owner/name", {"bogus": 1}), "/launch", "Unknown options: bogus"),
        (("owner/name", {"python": 3.11}), "/launch", "Option python: Input should be a valid string"),
        (("owner/name", {"environment": "no value"}), "/inspect", "is no variable"),
        (("owner/name", None, {"BAD NAME": "x"}), "/launch", "cannot be the name"),
        (("no-such-space",), "/stop", "no-such-space"),
    ],
)
def test_errors_reach_programs_as_sentences(
    client: Client, arguments: tuple[Any, ...], api_name: str, words: str
) -> None:
    with pytest.raises(Exception, match=words) as caught:
        client.predict(*arguments, api_name=api_name)
    assert type(caught.value).__name__ == "AppError"
    assert "Traceback" not in str(caught.value)


def test_the_page_has_a_public_link_of_its_own(settings: Settings, share: Share, tmp_path: Path) -> None:
    with serving(share.settings(settings), tmp_path, ["--share"]) as server:
        link = server.wait_for("Public link: ").partition(": ")[2]
        assert link.endswith(f"/?token={TOKEN}") and not link.startswith(server.url)
        assert httpx.get(link.partition("?")[0]).status_code == 401
        answer = httpx.get(link, follow_redirects=True)
        assert answer.status_code == 200 and "Spaces Runner" in answer.text


def test_without_a_public_link_the_local_one_works(settings: Settings, share: Share, tmp_path: Path) -> None:
    share.down = True
    with serving(share.settings(settings), tmp_path, ["--share"]) as server:
        line = server.wait_for("No public link: ")
        assert "share server" in line and "Traceback" not in server.output()
        assert httpx.get(server.link, follow_redirects=True).status_code == 200


def test_a_client_without_the_token_gets_nothing(server: WebServer) -> None:
    assert httpx.get(f"{server.url}/config").status_code == 401
    assert httpx.post(f"{server.url}/gradio_api/call/spaces", json={"data": []}).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--token", "short"], "at least 8 characters"),
        (["--token", "with a space and so on"], "letters"),
        (["--allow-host", "http://"], "no host name"),
        (["--host", "203.0.113.7"], "Cannot listen"),
    ],
)
def test_bad_arguments_end_in_one_sentence(
    settings: Settings, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = WebServer.command(settings, ["--port", "0", *arguments])
    finished = subprocess.run(
        done.argv, env=done.env, cwd=done.cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ") and words in finished.stderr
    assert "Traceback" not in finished.stderr
