"""The bundled Spaces run, each as a person would start it, and answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client

from spaces_runner import control, looking
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.types import RunOptions, SpaceStatus, Stage
from tests.support.hub import Hub
from tests.support.share import Share

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_S = 300.0


def launch(source: str, settings: Settings) -> SpaceStatus:
    request = control.Request(ref=parse(source, settings), options=RunOptions(), secrets={}, name=None)
    space_id = control.start(request, settings).id
    status = looking.wait(space_id, settings, PATIENCE_S)
    log = "\n".join(looking.log_tail(space_id, settings, "run", 40))
    assert status.stage is Stage.RUNNING, f"{status.error}\n{log}"
    return status


def call(status: SpaceStatus, name: str, *arguments: Any) -> Any:
    assert status.local_url is not None
    assert httpx.get(status.local_url).status_code == 200
    client = Client(status.local_url, verbose=False)
    try:
        return client.predict(*arguments, api_name=name)
    finally:
        client.close()


@pytest.mark.network_index
def test_hello_interface_greets_and_has_a_link(shared_settings: Settings, share: Share) -> None:
    settings = share.settings(shared_settings)
    status = launch(str(EXAMPLES / "hello-interface"), settings)
    try:
        assert call(status, "/greet", "Ada", 2) == "Hello Ada! Hello Ada!"
        assert status.share_url
        assert httpx.get(status.share_url).status_code == 200
    finally:
        control.remove(status.id, settings)


def of_directory(hub: Hub) -> str:
    return str(EXAMPLES / "phrase-chat")


def over_lfs(hub: Hub) -> str:
    """As it is on the Hub, whose own .gitattributes make an LFS object of the phrases."""
    files = {
        str(path.relative_to(EXAMPLES / "phrase-chat")): path.read_bytes()
        for path in (EXAMPLES / "phrase-chat").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    hub.add_space("examples/phrase-chat", files, lfs=("*.npz",))
    return "examples/phrase-chat"


@pytest.mark.network_index
@pytest.mark.parametrize("source", [over_lfs, of_directory])
def test_phrase_chat_answers_wherever_it_is_kept(
    shared_settings: Settings, share: Share, hub: Hub, source: Callable[[Hub], str]
) -> None:
    settings = share.settings(hub.settings(shared_settings))
    status = launch(source(hub), settings)
    try:
        assert "thousands of small cores" in call(status, "/chat", "What is a GPU?")
        assert status.share_url
        assert any("fortune-mod" in finding.message + finding.remedy for finding in status.findings)
    finally:
        control.remove(status.id, settings)


@pytest.mark.network_index
@pytest.mark.skipif(
    shutil.which("python3.11") is None, reason="the pinned torch has a small wheel for Python 3.11 only"
)
def test_gpu_fractal_draws_where_it_is(shared_settings: Settings, share: Share) -> None:
    settings = share.settings(shared_settings)
    status = launch(str(EXAMPLES / "gpu-fractal"), settings)
    try:
        picture, where = call(status, "/julia", -0.8, 0.156)
        assert Path(picture).stat().st_size > 1000
        assert where in ("Drawn on cpu", "Drawn on cuda")
        assert (where == "Drawn on cuda") == (status.gpu is not None)
    finally:
        control.remove(status.id, settings)
