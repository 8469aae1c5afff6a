"""The web server as it is started: every route behind the gate, its token, its port, its public link, its API."""

from __future__ import annotations

import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client

from app.listening import bind, stored_token
from spaces_runner import core as core_service
from spaces_runner.settings import Settings
from tests.support.share import Share
from tests.support.web import TOKEN, WebServer, serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "guanaco-playground"


@pytest.fixture(scope="module")
def server(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with serving(shared_settings, tmp_path_factory.mktemp("web")) as started:
        yield started


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
        assert str(page.url) == f"{server.url}/studio/"
        assert browser.get(f"{server.url}/studio/config").json()["title"] == "Spaces Runner"
        assert str(browser.get(server.url, headers={"accept": "text/html"}).url) == f"{server.url}/studio/"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_a_sentence_and_leaves_nothing(
    shared_settings: Settings, tmp_path: Path, number: signal.Signals
) -> None:
    """While a page is open, whose stream has to be cut."""
    files = tmp_path / "tmp"
    files.mkdir()
    with serving(shared_settings, tmp_path, environ={"TMPDIR": str(files)}) as server:
        with httpx.stream("GET", f"{server.url}/studio/", headers={"authorization": f"Bearer {TOKEN}"}):
            assert list(files.iterdir())
            server.process.send_signal(number)
            assert server.process.wait(15) == 128 + number
        assert "Traceback" not in server.output()
        assert ("Spaces that were started go on" in server.output()) is (number == signal.SIGINT)
    assert not list(files.iterdir())


def test_gradio_answers_no_foreign_origin(server: WebServer) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(f"{server.url}/studio/config", headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    foreign = httpx.options(
        f"{server.url}/studio/gradio_api/queue/join",
        headers={"origin": "https://a.gradio.live", "access-control-request-method": "POST"},
    )
    assert foreign.status_code == 403
    assert "access-control-allow-origin" not in foreign.headers


def test_the_log_in_of_the_state_directory_is_not_served(server: WebServer, shared_settings: Settings) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    path = shared_settings.home_dir / "state.db"
    for page in ("/studio", ""):
        answer = httpx.get(f"{server.url}{page}/gradio_api/file={path}", headers=headers)
        assert answer.status_code in (403, 404)


@pytest.fixture(scope="module")
def client(server: WebServer) -> Client:
    return Client(f"{server.url}/studio/", headers={"Authorization": f"Bearer {TOKEN}"}, verbose=False)


def test_programs_have_named_endpoints(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {
        "/inspect",
        "/launch",
        "/spaces",
        "/stop",
        "/restart",
        "/remove",
        "/logs",
        "/chat",
        "/keys",
        "/make_key",
        "/revoke_key",
        "/link",
    }
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


def test_a_space_that_is_to_have_a_model_waits_for_the_models_server(settings: Settings, tmp_path: Path) -> None:
    """Which nobody had started, and which says that it has no such model."""
    with serving(settings, tmp_path) as server:
        owner = Client(f"{server.url}/studio/", headers={"Authorization": f"Bearer {TOKEN}"}, verbose=False)
        try:
            with pytest.raises(Exception, match=r"The core has no model 'nobody'\. It has: alpaca-lora-7b, guanaco-7b"):
                owner.predict(str(EXAMPLE), {"model": "nobody"}, api_name="/launch")
            assert owner.predict(api_name="/spaces") == []
        finally:
            core_service.stop(settings)


def test_the_page_has_a_public_link_of_its_own(settings: Settings, share: Share, tmp_path: Path) -> None:
    begun = time.time()
    with serving(share.settings(settings), tmp_path, ["--share"]) as server:
        link = server.wait_for("Public link: ").partition(": ")[2]
        assert link.endswith(f"/?token={TOKEN}") and not link.startswith(server.url)
        assert httpx.get(link.partition("?")[0] + "studio/").status_code == 401
        answer = httpx.get(link, follow_redirects=True)
        assert answer.status_code == 200 and "Spaces Runner" in answer.text
        owner = Client(f"{server.url}/studio/", headers={"Authorization": f"Bearer {TOKEN}"}, verbose=False)
        told = owner.predict(api_name="/link")
        assert told["url"] == link.partition("/?")[0] and begun < told["since"] < time.time()


def test_without_a_public_link_the_local_one_works(settings: Settings, share: Share, tmp_path: Path) -> None:
    share.down = True
    with serving(share.settings(settings), tmp_path, ["--share"]) as server:
        line = server.wait_for("No public link: ")
        assert "share server" in line and "Traceback" not in server.output()
        assert httpx.get(server.link, follow_redirects=True).status_code == 200


def test_a_client_without_the_token_gets_nothing_of_the_runner(server: WebServer) -> None:
    assert httpx.get(f"{server.url}/studio/config").status_code == 401
    for page in ("/studio", ""):
        answer = httpx.post(f"{server.url}{page}/gradio_api/call/spaces", json={"data": []})
        assert answer.status_code == 401


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
