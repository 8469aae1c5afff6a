"""The bridge and its ports, spoken to over the real socket: answers, refusals, and what a hostile Space may try."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from spaces_runner.errors import LaunchError
from spaces_runner.ports import PortBlock, listener
from spaces_runner.shim.bridge import MAX_CONNECTIONS, Bridge, Up
from tests.support.apps import free_base
from tests.support.home import open_directory


@dataclass(slots=True)
class Heard:
    """What a bridge calls."""

    ups: list[Up] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    raised: list[tuple[str, ...]] = field(default_factory=list)
    exported: list[str] = field(default_factory=list)
    links: bool = True

    def open_tunnel(self, port: int) -> str | None:
        self.opened.append(port)
        return f"https://{port}.example" if self.links else None

    def fail(self, patch: str, error: str) -> None:
        self.failures.append((patch, error))


Make = Callable[..., Bridge]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def make(heard: Heard) -> Iterator[Make]:
    room = open_directory("sr-bridge-")
    made: list[Bridge] = []

    def bridge(
        share: bool = True, allowed_uid: int | None = None, path: Path = room / "socket", by_script: bool = False
    ) -> Bridge:
        started = Bridge(
            socket_path=path,
            ports=PortBlock(base=free_base()),
            share=share,
            open_tunnel=heard.open_tunnel,
            on_up=heard.ups.append,
            on_failed=heard.fail,
            allowed_uid=allowed_uid,
            by_script=by_script,
            on_raised=heard.raised.append,
            on_exported=heard.exported.append,
        )
        started.start()
        made.append(started)
        return started

    yield bridge
    for started in made:
        started.close()
    for path in room.iterdir():
        path.unlink()
    room.rmdir()


def send(bridge: Bridge, raw: bytes) -> bytes:
    """What the bridge answers to `raw`; b"" where it hangs up."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(15)
        link.connect(str(bridge.socket_path))
        try:
            link.sendall(raw)
            return link.makefile("rb").readline()
        except (BrokenPipeError, ConnectionResetError):  # it may hang up before it has read anything
            return b""


def ask(bridge: Bridge, **question: Any) -> Any:
    answer = send(bridge, json.dumps(question).encode() + b"\n")
    return json.loads(answer) if answer else None


def eventually(holds: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


# Scripts.


def test_a_script_is_up_when_it_ran_not_when_its_port_answers(make: Make, heard: Heard) -> None:
    bridge = make(by_script=True)
    base = bridge.ports.base
    with socket.create_server(("127.0.0.1", base)):
        assert ask(bridge, ask="port", asked=base) == {"server_name": "127.0.0.1", "server_port": base}
        assert heard.ups == []
        assert not bridge.script_ended.is_set()
        ask(bridge, ask="script", lines=[])
        eventually(lambda: heard.ups)
    assert [(up.port, up.share_url) for up in heard.ups] == [(base, f"https://{base}.example")]
    assert bridge.script_ended.is_set()


def test_a_script_that_raised_is_told_in_harmless_lines(make: Make, heard: Heard) -> None:
    bridge = make(by_script=True)
    ask(bridge, ask="script", lines=["old"] * 50 + ["Traceback", "\x1b[2J" + "x" * 1000])
    eventually(lambda: heard.raised)
    assert heard.raised[0][-2:] == ("Traceback", "[2J" + "x" * 496)
    assert len(heard.raised[0]) == 40
    assert heard.ups == []


def test_a_script_of_another_kind_of_space_says_nothing(make: Make, heard: Heard) -> None:
    bridge = make()
    ask(bridge, ask="script", lines=["NameError"])
    ask(bridge, ask="exported", name="demo")
    eventually(lambda: heard.exported)
    assert (heard.exported, heard.raised, heard.ups) == (["demo"], [], [])


# Launches.


@pytest.mark.parametrize("share", [True, False])
def test_a_launch_is_told_where_and_whether_to_share(make: Make, share: bool) -> None:
    bridge = make(share=share)
    base = bridge.ports.base
    first = ask(bridge, ask="launch", asked=None, running=False)
    assert first == {"share": share, "server_name": "127.0.0.1", "server_port": base}
    assert ask(bridge, ask="launch", asked=7860)["server_port"] == base + 1  # claimed, if not yet bound
    assert ask(bridge, ask="launch", asked=7860, running=True) == {"share": share}


def test_launches_at_once_get_ports_of_their_own(make: Make) -> None:
    bridge = make()
    got: list[int] = []
    threads = [
        threading.Thread(target=lambda: got.append(ask(bridge, ask="launch", asked=None)["server_port"]))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(got) == list(range(bridge.ports.base, bridge.ports.base + 10))


def test_a_launch_without_a_free_port_stays_on_loopback_and_is_said(make: Make, heard: Heard) -> None:
    bridge = make()
    for _ in range(10):
        assert "server_port" in ask(bridge, ask="launch")
    assert ask(bridge, ask="launch") == {"share": False, "server_name": "127.0.0.1"}
    assert heard.failures == [("launch", "no port is free")]


def test_up_says_our_own_link_and_the_kernels_process(make: Make, heard: Heard) -> None:
    bridge = make()
    port = bridge.ports.base
    said = {"local_url": f"http://0.0.0.0:{port}/x?y", "version": "6.31.0", "title": "A\x1b[2J\nb", "pid": 1}
    ask(bridge, ask="up", share_url="https://phish.example", **said)
    eventually(lambda: heard.ups)
    url = f"http://127.0.0.1:{port}/"
    link = f"https://{port}.example"
    up = Up(port=port, local_url=url, share_url=link, version="6.31.0", title="A[2Jb", pid=os.getpid())
    assert heard.ups == [up]
    ask(bridge, ask="up", **said)
    ask(bridge, ask="up", **{**said, "version": "<script>", "title": "new"})
    eventually(lambda: len(heard.ups) == 2)
    assert (heard.ups[1].title, heard.ups[1].version) == ("new", "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:22/", "http://127.0.0.1/", 7, None, "http://[::1", "//:99999"])
def test_an_address_that_is_not_ours_is_not_up(make: Make, heard: Heard, url: object) -> None:
    ask(make(), ask="up", local_url=url, version="6.31.0")
    eventually(lambda: heard.failures)
    assert (heard.ups, heard.opened) == ([], [])


# Links.


def test_a_tunnel_is_for_the_ports_of_the_run_only(make: Make, heard: Heard) -> None:
    bridge = make()
    base = bridge.ports.base
    assert ask(bridge, ask="tunnel", port=base + 9) == {"url": f"https://{base + 9}.example"}
    for port in (base - 1, base + 10, 22, str(base), True, None, -1, [base], 1e3, base + 0.0):
        assert ask(bridge, ask="tunnel", port=port) == {}
    assert heard.opened == [base + 9]


def test_no_tunnel_where_the_owner_wants_none(make: Make, heard: Heard) -> None:
    bridge = make(share=False)
    assert ask(bridge, ask="tunnel", port=bridge.ports.base) == {}
    ask(bridge, ask="up", local_url=f"http://127.0.0.1:{bridge.ports.base}")
    eventually(lambda: heard.ups)
    assert (heard.ups[0].share_url, heard.opened) == (None, [])


def test_a_link_that_failed_is_not_tried_again(make: Make, heard: Heard) -> None:
    heard.links = False
    bridge = make()
    assert ask(bridge, ask="tunnel", port=bridge.ports.base) == {}
    assert ask(bridge, ask="tunnel", port=bridge.ports.base) == {}
    assert heard.opened == [bridge.ports.base]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user, which only root can be")
def test_no_tunnel_to_a_port_of_another_user(make: Make, heard: Heard) -> None:
    bridge = make(allowed_uid=61234)
    port = bridge.ports.base
    with socket.create_server(("127.0.0.1", port)):
        assert listener(port) == 0
        answer = subprocess.run(
            [sys.executable, "-c", _AS_USER, str(bridge.socket_path), str(port)], capture_output=True, check=True
        )
    assert answer.stdout.strip() == b"{}"
    assert heard.opened == []


# Servers that are not Gradio.


def test_a_server_is_up_when_its_port_answers(make: Make, heard: Heard) -> None:
    bridge = make()
    port = bridge.ports.base
    assert ask(bridge, ask="port", asked=7860) == {"server_name": "127.0.0.1", "server_port": port}
    assert ask(bridge, ask="port", asked=7860)["server_port"] == port
    time.sleep(0.3)
    assert heard.ups == []
    with socket.create_server(("127.0.0.1", port)) as server:
        connection, _ = server.accept()
        with connection:
            assert connection.recv(4096).startswith(b"GET / HTTP/1.1")
            connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")
        eventually(lambda: heard.ups)
    assert (heard.ups[0].port, heard.ups[0].share_url) == (port, f"https://{port}.example")
    assert heard.ups[0].pid == os.getpid()


def test_the_hubs_port_is_another_where_the_first_is_taken(make: Make) -> None:
    bridge = make()
    with socket.create_server(("127.0.0.1", bridge.ports.base)):
        assert ask(bridge, ask="port", asked=7860)["server_port"] == bridge.ports.base + 1
    with socket.create_server(("127.0.0.1", bridge.ports.base + 1)):  # bound by who asked; a child of it asks again
        assert ask(bridge, ask="port", asked=7860)["server_port"] == bridge.ports.base + 1


def test_a_check_of_the_port_before_a_launch_is_no_server(make: Make, heard: Heard) -> None:
    bridge = make()
    ask(bridge, ask="port", asked=7860)
    port = ask(bridge, ask="launch", asked=7860)["server_port"]
    assert port == bridge.ports.base
    ask(bridge, ask="up", local_url=f"http://127.0.0.1:{port}/", version="6.31.0")
    eventually(lambda: heard.ups)
    time.sleep(0.3)
    assert [up.version for up in heard.ups] == ["6.31.0"]


# What a hostile Space may try.


@pytest.mark.parametrize(
    "raw",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'{"ask": "launch"',
        b'{"ask": 1}\n',
        b'{"ask": ["launch"]}\n',
        b"\xff\xfe\n",
        b"[" * 60000 + b"\n",
        b'{"ask": "launch", "asked": ' + b"9" * 5000 + b"}\n",
        b'{"ask": "up"}\n',
        b'{"ask": "up", "local_url": {"a": 1}, "title": [1]}\n',
        b'{"ask": "failed"}\n',
        b"x" * 200_000,
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_what_is_no_question_does_no_harm(make: Make, raw: bytes) -> None:
    bridge = make()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(bridge.socket_path))
        with suppress(BrokenPipeError, ConnectionResetError):  # too long: it hung up
            link.sendall(raw)
    assert ask(bridge, ask="port")["server_port"] == bridge.ports.base


def test_more_connections_than_allowed_are_closed_and_the_next_is_answered(make: Make) -> None:
    bridge = make()
    links = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CONNECTIONS + 20)]
    for link in links:
        link.connect(str(bridge.socket_path))
    links[-1].settimeout(5)
    assert links[-1].recv(1) == b""
    for link in links:
        link.close()
    eventually(lambda: send(bridge, b'{"ask": "port"}\n'))


def test_failures_are_said_once_and_not_without_end(make: Make, heard: Heard) -> None:
    bridge = make()
    for number in range(40):
        ask(bridge, ask="failed", patch="gradio.blocks", error=f"{number // 2}" + "x" * 1000)
    eventually(lambda: len(heard.failures) == 20)
    assert all(len(error) <= 200 for _, error in heard.failures)


_AS_USER = """
import json, os, socket, sys
os.setgroups([])
os.setgid(61234)
os.setuid(int(sys.argv[3]) if len(sys.argv) > 3 else 61234)
link = socket.socket(socket.AF_UNIX)
link.settimeout(10)
link.connect(sys.argv[1])
link.sendall(json.dumps({"ask": "tunnel", "port": int(sys.argv[2])}).encode() + b"\\n")
print(link.makefile().readline())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user, which only root can be")
def test_only_the_spaces_user_may_speak(make: Make, heard: Heard) -> None:
    bridge = make(allowed_uid=61234)
    assert send(bridge, b'{"ask": "port"}\n') == b""  # not even root
    port = str(bridge.ports.base)
    command = [sys.executable, "-c", _AS_USER, str(bridge.socket_path), port]
    assert b"example" in subprocess.run(command, capture_output=True, check=True).stdout
    refused = subprocess.run([*command, "61235"], capture_output=True, check=False)
    assert b"PermissionError" in refused.stderr
    bridge.socket_path.chmod(0o777)
    refused = subprocess.run([*command, "61235"], capture_output=True, check=False)  # the socket lets it in, we do not
    assert refused.stdout.strip() == b""
    assert b"PermissionError" not in refused.stderr


def test_a_path_that_is_too_long_is_said(make: Make, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="longer than 107 bytes") as raised:
        make(path=tmp_path / ("x" * 120))
    assert "SPACES_RUNNER_HOME" in raised.value.hint


def test_a_socket_left_by_an_earlier_run_is_replaced(make: Make) -> None:
    first = make()
    second = make(path=first.socket_path)
    assert ask(second, ask="port")["server_port"] == second.ports.base


def test_it_costs_nothing_at_rest_and_ends_at_once(make: Make) -> None:
    bridge = make()
    ask(bridge, ask="launch")
    time.sleep(0.5)
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(1.0)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_nvcsw - before.ru_nvcsw < 20
    bridge.close()
    assert not bridge.socket_path.exists()
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("bridge")])


def test_the_bridge_loads_nothing_heavy() -> None:
    heavy = ("httpx", "ssl", "hashlib", "asyncio", "psutil", "http.client")
    code = f"import sys, spaces_runner.shim.bridge; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"
