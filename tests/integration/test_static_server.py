"""The server of static Spaces, as it is started: what is sent, with which headers, and what is not there."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import spaces_runner.bootstrap

PROGRAM = Path(spaces_runner.bootstrap.__file__).with_name("_spaces_runner_static.py")
PAGE = "<!doctype html>\n<title>x</title>"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site whose page is `dist/start.html`."""
    root = tmp_path_factory.mktemp("site")
    dist = root / "dist"
    (dist / "sub").mkdir(parents=True)
    (dist / ".git").mkdir()
    (dist / "empty").mkdir()
    files = {"start.html": PAGE, "sub/index.html": "<html><p>", "a b.txt": "ä", ".env": "KEY=1", ".git/config": "x"}
    files |= dict.fromkeys(("app.js", "app.mjs", "code.wasm", "model.glb", "x.unknown"), "x")
    for name, text in files.items():
        (dist / name).write_text(text)
    (root / "secret.txt").write_text("outside")
    (dist / "out.txt").symlink_to("../secret.txt")
    (dist / "out").symlink_to("..")
    (dist / "round").symlink_to("round")
    (dist / "in.txt").symlink_to("a b.txt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = ("--header", "cross-origin-opener-policy: same-origin", "--variables", '{"A": "</script>"}')
    command = (sys.executable, "-I", str(PROGRAM), "--port", str(port), *said, "dist/start.html")
    with subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL) as process:
        try:
            yield reached(f"http://127.0.0.1:{port}")
        finally:
            process.kill()


def reached(url: str) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return url


@pytest.mark.parametrize(
    ("path", "kind"),
    {
        "/": "text/html; charset=utf-8",
        "/start.html": "text/html; charset=utf-8",
        "/sub/": "text/html; charset=utf-8",
        "/app.js": "text/javascript; charset=utf-8",
        "/app.mjs?v=2": "text/javascript; charset=utf-8",
        "/code.wasm": "application/wasm",
        "/model.glb": "model/gltf-binary",
        "/a%20b.txt": "text/plain; charset=utf-8",
        "/in.txt": "text/plain; charset=utf-8",
        "/x.unknown": "application/octet-stream",
    }.items(),
)
def test_what_is_there_comes_with_its_type_and_the_spaces_headers(site: str, path: str, kind: str) -> None:
    answer = httpx.get(site + path, trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"


HIDDEN = ("/.env", "/.git/config", "/empty/", "/none", "/%00")
OUTSIDE = (
    *("/out.txt", "/out/secret.txt", "/round", "/%2e%2e/secret.txt", "/..%2fsecret.txt"),
    *("/sub/../../secret.txt", "//etc/passwd", "/sub/..%2f..%2fsecret.txt"),
)


@pytest.mark.parametrize("path", [*HIDDEN, *OUTSIDE])
def test_what_is_hidden_outside_or_a_listing_is_not_there(site: str, path: str) -> None:
    host, port = site.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:  # a client would tidy the path
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(65536).split()[1] == b"404"


def test_variables_stand_behind_the_doctype_and_cannot_end_their_script(site: str) -> None:
    text = httpx.get(site, trust_env=False).text
    script = r'<script>window.huggingface = {"variables": {"A": "\u003c/script>"}};</script>'
    assert text == PAGE.replace("<!doctype html>", "<!doctype html>" + script)
    head = httpx.head(site, trust_env=False)
    assert (head.text, int(head.headers["content-length"])) == ("", len(text))


def test_a_folder_is_told_from_a_file_so_that_its_links_lead_right(site: str) -> None:
    answer = httpx.get(site + "/sub?x=1", trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (301, "/sub/?x=1")
