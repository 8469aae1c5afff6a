"""What goes wrong before an app starts: a typed error that says what to do next; nothing is left behind."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from spaces_runner import control, looking
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.store import blocks
from spaces_runner.types import Failed, Found, RunOptions, SpaceStatus, Stage, Step
from tests.support.home import open_directory
from tests.support.hub import Hub

README = "---\ntitle: bad\nsdk: gradio\nsdk_version: 6.31.0\n---\n"
SPACE = {"README.md": README, "app.py": "import gradio as gr\ngr.Interface(str, 'text', 'text').launch()\n"}
PATIENCE_S = 240.0


def attempt(source: str, settings: Settings, options: RunOptions | None = None) -> SpaceStatus:
    request = control.Request(ref=parse(source, settings), options=options or RunOptions(), secrets={}, name=None)
    space_id = control.start(request, settings).id
    return looking.wait(space_id, settings, PATIENCE_S)


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


def test_what_was_found_before_a_failure_is_told_with_it(settings: Settings, hub: Hub) -> None:
    app = f"import os\nkey = os.environ['KEY_OF_MINE']\n{SPACE['app.py']}"
    hub.add_space("bad/python", {**SPACE, "app.py": app})
    settings = hub.settings(settings)
    status = attempt("bad/python", settings, RunOptions(python="3.99"))
    check(status, "python_missing", Stage.BUILD_ERROR, Step.ENVIRONMENT, settings)
    [finding] = status.findings
    assert finding.code == "missing-secret"
    assert "KEY_OF_MINE" in finding.message
    told = [event for _, event in looking.events(status.id, settings) if isinstance(event, Found | Failed)]
    assert [type(event) for event in told] == [Found, Failed]


# A port that is taken


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of this machine that another process listens on: this one."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def hub_port_taken() -> Iterator[None]:
    """The port that every Space has on the Hub: taken by us, or by whoever has it already."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            server.bind(("0.0.0.0", 7860))
            server.listen()
        yield


@contextmanager
def run(app: str, settings: Settings, **variables: str) -> Iterator[SpaceStatus]:
    """A directory's Space at the end of its start, and nothing of it afterwards."""
    folder = open_directory("sr-port-")
    (folder / "README.md").write_text(README)
    (folder / "app.py").write_text(app)
    status = attempt(str(folder), settings, RunOptions(share=False, variables=variables))
    try:
        yield status
    finally:
        control.remove(status.id, settings)
        shutil.rmtree(folder)


GRADIO = (
    "import gradio as gr\ngr.Interface(lambda name: f'Hello {{name}}!', 'text', 'text').launch(server_port={port})\n"
)
PLAIN = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Hello")
HTTPServer(("0.0.0.0", {port}), Hello).serve_forever()
"""
UVICORN = """
import fastapi, uvicorn
uvicorn.run(fastapi.FastAPI(), host="0.0.0.0", port={port})
"""


@pytest.mark.network_index
def test_a_gradio_app_whose_port_is_taken_runs_on_another(shared_settings: Settings, taken: int) -> None:
    with run(GRADIO.format(port=taken), shared_settings, GRADIO_SERVER_PORT=str(taken)) as status:
        assert status.stage is Stage.RUNNING, status.error
        assert status.local_url
        assert urlsplit(status.local_url).port != taken
        assert httpx.get(status.local_url, timeout=20).status_code == 200
        assert [finding.code for finding in status.findings] == []


@pytest.mark.network_index
@pytest.mark.usefixtures("hub_port_taken")
def test_a_server_on_the_hubs_port_runs_on_another_when_that_is_taken(shared_settings: Settings) -> None:
    with run(PLAIN.format(port=7860), shared_settings) as status:
        assert status.stage is Stage.RUNNING, status.error
        assert status.local_url
        assert urlsplit(status.local_url).port != 7860
        assert httpx.get(status.local_url, timeout=20).text == "Hello"


@pytest.mark.network_index
@pytest.mark.parametrize("app", [PLAIN, UVICORN], ids=["http.server", "uvicorn"])
def test_a_server_on_a_port_of_its_own_that_is_taken(shared_settings: Settings, taken: int, app: str) -> None:
    with run(app.format(port=taken), shared_settings) as status:
        check(status, "port_taken", Stage.RUNTIME_ERROR, Step.LAUNCH, shared_settings)
        assert status.error
        assert "ddress already in use" in "\n".join(status.error.lines)
        [cause] = [finding for finding in status.findings if finding.code == "port-taken"]
        assert "taken by another process" in cause.message
        assert cause.remedy == status.error.hint
        assert "PORT" in cause.remedy


@pytest.fixture
def no_ports(settings: Settings) -> Iterator[Settings]:
    """Nothing is free where Spaces get their ports from: one of each ten is held."""
    base = 10_000  # the kernel takes no port from here for connections, which would leave one half taken
    with ExitStack() as held:
        for first in range(base, base + blocks.BLOCKS * 10, 10):
            server = held.enter_context(socket.socket())
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):  # somebody else holds it
                server.bind(("127.0.0.1", first))
                server.listen()
        yield replace(settings, port_base=base)


@pytest.mark.network_index
def test_ports_that_are_all_taken(no_ports: Settings) -> None:
    with run(PLAIN.format(port=7860), no_ports) as status:
        check(status, "port_taken", Stage.RUNTIME_ERROR, Step.LAUNCH, no_ports)
        assert status.error
        assert "SPACES_RUNNER_PORT_BASE" in status.error.hint
