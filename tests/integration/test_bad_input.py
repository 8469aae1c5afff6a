"""What goes wrong before an app starts: a typed error that says what to do next; nothing is left behind."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner import control
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.types import RunOptions, SpaceStatus, Stage, Step
from tests.support.hub import Hub

README = "---\ntitle: bad\nsdk: gradio\nsdk_version: 6.31.0\n---\n"
SPACE = {"README.md": README, "app.py": "import gradio as gr\ngr.Interface(str, 'text', 'text').launch()\n"}
PATIENCE_S = 240.0


def attempt(source: str, settings: Settings, options: RunOptions | None = None) -> SpaceStatus:
    request = control.Request(ref=parse(source, settings), options=options or RunOptions(), secrets={}, name=None)
    space_id = control.start(request, settings)
    return control.wait(space_id, settings, PATIENCE_S)


def check(status: SpaceStatus, code: str, stage: Stage, step: Step | None, settings: Settings) -> None:
    """The error is the one expected, says what to do, and no working file of the launch is left."""
    assert status.error is not None, status
    assert (status.error.code, status.error.stage, status.error.step) == (code, stage, step), status.error
    assert status.stage is stage
    assert status.error.hint
    assert "Traceback" not in status.error.message
    assert leftovers(settings) == []
    assert status.local_url is None


def leftovers(settings: Settings) -> list[Path]:
    """Half-made things: temporary siblings of mirrors, environments and checkouts."""
    rooms = [settings.mirrors_dir, settings.environments_dir, *settings.spaces_dir.glob("*")]
    return [
        path
        for room in rooms
        if room.is_dir()
        for path in room.iterdir()
        if "tmp-" in path.name or path.suffix == ".part"
    ]


def test_a_space_that_is_not_there(settings: Settings, hub: Hub) -> None:
    settings = replace(hub.settings(settings), hf_token="hf_valid")
    hub.accept("hf_valid")
    check(attempt("nobody/nothing", settings), "space_not_found", Stage.BUILD_ERROR, Step.CLONE, settings)


def test_a_private_space_without_a_token(settings: Settings, hub: Hub) -> None:
    hub.add_space("bad/private", SPACE, private=True)
    settings = hub.settings(settings)
    check(attempt("bad/private", settings), "access_denied", Stage.BUILD_ERROR, Step.CLONE, settings)


def test_a_revision_that_is_not_there(settings: Settings, hub: Hub) -> None:
    hub.add_space("bad/revision", SPACE)
    settings = hub.settings(settings)
    check(attempt("bad/revision@gone", settings), "revision_not_found", Stage.BUILD_ERROR, Step.CLONE, settings)


def test_a_disk_that_is_too_small(settings: Settings, hub: Hub) -> None:
    hub.add_space("bad/large", {**SPACE, "model.bin": b"x" * 4096}, lfs=("*.bin",))
    settings = replace(hub.settings(settings), disk_floor_bytes=1 << 60)
    before = hub.served("lfs-object")
    check(attempt("bad/large", settings), "disk_too_small", Stage.BUILD_ERROR, Step.LFS, settings)
    assert hub.served("lfs-object") == before


def test_a_hub_that_cannot_be_reached(settings: Settings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    settings = replace(settings, hf_endpoint=endpoint)
    check(attempt("some/space", settings), "network_failed", Stage.BUILD_ERROR, Step.CLONE, settings)


def test_a_python_that_does_not_exist(settings: Settings, hub: Hub) -> None:
    hub.add_space("bad/python", SPACE)
    settings = hub.settings(settings)
    status = attempt("bad/python", settings, RunOptions(python="3.99"))
    check(status, "python_missing", Stage.BUILD_ERROR, Step.ENVIRONMENT, settings)


@pytest.mark.parametrize("sdk", ["docker", "streamlit", "static"])
def test_a_kind_of_space_that_cannot_start_yet(settings: Settings, hub: Hub, sdk: str) -> None:
    files = {"README.md": f"---\nsdk: {sdk}\n---\n", "Dockerfile": "FROM scratch\n", "app.py": "", "index.html": ""}
    hub.add_space(f"bad/{sdk}", files)
    settings = hub.settings(settings)
    check(attempt(f"bad/{sdk}", settings), "unsupported_sdk", Stage.CONFIG_ERROR, Step.DETECT, settings)
