"""Whatever a Space's Python says on the socket of its bootstrap, the bridge answers the next who asks."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces_runner.ports import PortBlock
from spaces_runner.shim.bridge import MAX_TEXT, Bridge, Up
from tests.fuzz.grammars import REPORT

BASE, SIZE = 47310, 10
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.text(max_size=4))
ADDRESSES = st.sampled_from(
    ["http://127.0.0.1:47310", "https://127.0.0.1:47319/x", "http://127.0.0.1:22", "http://[", "http://x:99999", "é"]
)
REPORTS = st.fixed_dictionaries(
    {"ask": st.sampled_from(["tunnel", "up", "script", "exported", "failed", "nothing"]) | VALUES},
    optional=dict.fromkeys(("port", "asked", "lines", "name", "patch", "error", "title", "version", "pid"), VALUES)
    | {"local_url": ADDRESSES | VALUES, "running": VALUES},
)
LINES = REPORTS.map(lambda report: json.dumps(report).encode("utf-8", "surrogatepass") + b"\n") | REPORT


@dataclass(slots=True)
class Heard:
    """What the bridge made of it."""

    ups: list[Up] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tunnels: list[int] = field(default_factory=list)

    def tunnel(self, port: int) -> str:
        self.tunnels.append(port)
        return "https://0123456789abcdef01.gradio.live"

    def failed(self, patch: str, error: str) -> None:
        self.texts += [patch, error]


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def path(heard: Heard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a bridge listens."""
    socket_path = tmp_path_factory.mktemp("bridge") / "socket"
    bridge = Bridge(
        socket_path=socket_path,
        ports=PortBlock(base=BASE, size=SIZE),
        share=True,
        open_tunnel=heard.tunnel,
        on_up=heard.ups.append,
        on_failed=heard.failed,
        on_exported=heard.texts.append,
        on_raised=heard.texts.extend,
        by_script=True,
    )
    bridge.start()
    yield socket_path
    bridge.close()


def say(path: Path, raw: bytes) -> bytes:
    """All that is answered to one connection, until it is closed."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(4096):
            answer += part
        return answer


@settings(max_examples=250, deadline=None)
@given(raw=LINES)
def test_nothing_that_is_said_silences_it(path: Path, heard: Heard, raw: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # hung up on, in the middle of a line that was too long
        say(path, raw)
    answer: dict[str, Any] = json.loads(say(path, b'{"ask": "launch", "running": true}\n'))
    assert answer == {"share": True}
    assert all(
        BASE <= up.port < BASE + SIZE and up.local_url.split("/")[2].startswith("127.0.0.1:") for up in heard.ups
    )
    assert all(BASE <= port < BASE + SIZE for port in heard.tunnels)
    assert all(text.isprintable() for text in heard.texts)
    assert all(len(up.title) <= MAX_TEXT for up in heard.ups)
