"""The files of Gradio's pages: the same bytes, compressed where that is understood, and nothing beside them."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app import assets

SCRIPT = max((file for file in assets.FOLDER.iterdir() if file.suffix == ".js"), key=lambda file: file.stat().st_size)
FONT = next(file for file in assets.FOLDER.iterdir() if file.suffix not in assets.TYPES)


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.include_router(assets.routes("", "/studio"))
    return TestClient(app)


@pytest.mark.parametrize("page", ["", "/studio"])
def test_a_script_comes_compressed_to_who_can_read_it(client: TestClient, page: str) -> None:
    for _ in range(2):  # made, and kept
        answer = client.get(f"{page}/assets/{SCRIPT.name}", headers={"accept-encoding": "br, gzip"})
        assert answer.content == SCRIPT.read_bytes()
        assert answer.headers["content-encoding"] == "gzip" and answer.headers["vary"] == "accept-encoding"
        assert int(answer.headers["content-length"]) < SCRIPT.stat().st_size / 2
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize(("name", "encoding"), [(SCRIPT.name, "identity"), (FONT.name, "gzip")])
def test_others_come_as_they_are(client: TestClient, name: str, encoding: str) -> None:
    answer = client.get(f"/assets/{name}", headers={"accept-encoding": encoding})
    assert answer.content == (assets.FOLDER / name).read_bytes()
    assert "content-encoding" not in answer.headers and "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["nothing.js", "", "../index.html", "..%2findex.html", "a/b.js", "%2fetc%2fpasswd"])
def test_nothing_else_is_there(client: TestClient, path: str) -> None:
    assert client.get(f"/assets/{path}").status_code == 404
