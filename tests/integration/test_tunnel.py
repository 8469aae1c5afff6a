"""The tunnel: its ticket, its client, its link, and every way in which they fail. All on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from spaces_runner import tunnel
from spaces_runner.errors import ShareFailed
from spaces_runner.settings import Settings
from tests.support.share import Share


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def local_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A web server that answers "hello"."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text("hello")

    def handler(*args: Any) -> SimpleHTTPRequestHandler:
        return _Silent(*args, directory=str(folder))

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def eventually(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def clients() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "--server_addr" in arguments(child)]


def arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # or a zombie
        return []


def test_a_link_reaches_the_local_port(settings: Settings, share: Share, local_port: int) -> None:
    ticket = tunnel.prepare(share.settings(settings))
    opened = tunnel.Tunnel(ticket, local_port)
    url = opened.start()
    try:
        assert httpx.get(url).text == "hello"
        assert url != f"http://127.0.0.1:{local_port}"
        assert opened.url == url
    finally:
        opened.stop()
    assert clients() == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_the_client_runs_without_rights_and_without_our_environment(
    settings: Settings, share: Share, local_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    ticket = tunnel.prepare(share.settings(settings))
    opened = tunnel.Tunnel(ticket, local_port)
    opened.start()
    try:
        [process] = clients()
        assert "HF_TOKEN" not in process.environ()
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        if os.geteuid() == 0:
            assert set(process.uids()) == {settings.uid_base - 2}
            assert "CapEff:\t0000000000000000" in status
            assert "Groups:\t \n" in status
    finally:
        opened.stop()


def test_the_client_is_fetched_once(settings: Settings, share: Share) -> None:
    settings = share.settings(settings)
    first, second = tunnel.prepare(settings), tunnel.prepare(settings)
    assert first == second
    assert [count for path, count in share.served.items() if "frpc" in path] == [1]


def test_a_ticket_by_a_process_of_its_own(settings: Settings, share: Share) -> None:
    settings = replace(share.settings(settings), hf_token="hf_secret")
    assert tunnel.fetch_ticket(settings) == tunnel.prepare(settings)
    share.down = True
    with pytest.raises(ShareFailed, match="does not answer"):
        tunnel.fetch_ticket(settings)


def test_the_tunnel_loads_nothing_heavy() -> None:
    heavy = ("httpx", "ssl", "hashlib", "asyncio")
    code = f"import sys, spaces_runner.tunnel; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


# The ticket fails.


def test_a_share_server_that_is_down(settings: Settings, share: Share) -> None:
    share.down = True
    with pytest.raises(ShareFailed, match="does not answer") as raised:
        tunnel.prepare(share.settings(settings))
    assert "local link" in raised.value.hint


def test_no_share_server_at_all(settings: Settings) -> None:
    with pytest.raises(ShareFailed, match="does not answer"):
        tunnel.prepare(replace(settings, share_server="http://127.0.0.1:9/v3/tunnel-request"))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        [1],
        [{"host": "127.0.0.1"}],
        [{"host": "127.0.0.1", "port": "many", "root_ca": ""}],
        [{"host": "-config=/etc/passwd", "port": 7000, "root_ca": "x"}],
        [{"host": "127.0.0.1", "port": 70000, "root_ca": "x"}],
        [{"host": "relay.example", "port": 7000}],
    ],
    ids=str,
)
def test_an_answer_that_names_no_server(settings: Settings, share: Share, answer: object) -> None:
    share.answer = answer
    with pytest.raises(ShareFailed):
        tunnel.prepare(share.settings(settings))


def test_a_client_of_another_checksum_is_removed_and_fetched_once_more(settings: Settings, share: Share) -> None:
    settings = replace(share.settings(settings), tunnel_client_sha256="0" * 64)
    with pytest.raises(ShareFailed, match="checksum"):
        tunnel.prepare(settings)
    assert [count for path, count in share.served.items() if "frpc" in path] == [2]
    assert [path.name for path in settings.bin_dir.iterdir() if "frpc" in path.name] == []


def test_a_client_that_was_changed_on_disk_is_fetched_again(settings: Settings, share: Share) -> None:
    settings = share.settings(settings)
    client = Path(tunnel.prepare(settings).client)
    good = client.read_bytes()
    client.write_bytes(good + b"\n# changed\n")
    assert Path(tunnel.prepare(settings).client).read_bytes() == good


def test_a_client_that_was_changed_after_the_ticket_is_not_run(
    settings: Settings, share: Share, local_port: int
) -> None:
    ticket = tunnel.prepare(share.settings(settings))
    with Path(ticket.client).open("ab") as file:
        file.write(b"\n# changed\n")
    with pytest.raises(ShareFailed) as raised:
        tunnel.Tunnel(ticket, local_port).start()
    assert "checksum" in raised.value.lines[0]


def test_a_client_without_a_known_checksum(settings: Settings, share: Share) -> None:
    settings = replace(share.settings(settings), tunnel_client_sha256=None, tunnel_client=f"{share.url}/good/mine")
    with pytest.raises(ShareFailed, match="No checksum"):
        tunnel.prepare(settings)


# The client misbehaves.


@pytest.mark.parametrize("behaviour", ["silent", "refused", "exits", "phishing"])
def test_a_client_without_a_link(settings: Settings, share: Share, local_port: int, behaviour: str) -> None:
    share.behaviour = behaviour
    ticket = tunnel.prepare(share.settings(settings))
    lost = threading.Event()
    begun = time.monotonic()
    with pytest.raises(ShareFailed) as raised:
        tunnel.Tunnel(ticket, local_port, lost.set).start(timeout_s=1.5)
    assert time.monotonic() - begun < 5
    assert behaviour == "exits" or "login to server success" in raised.value.lines[0]
    assert clients() == []
    assert not lost.is_set()


def test_a_client_that_dies_is_noticed(settings: Settings, share: Share, local_port: int) -> None:
    share.behaviour = "dies"
    ticket = tunnel.prepare(share.settings(settings))
    lost = threading.Event()
    opened = tunnel.Tunnel(ticket, local_port, lost.set)
    opened.start()
    assert lost.wait(10)
    opened.stop()


def test_a_client_that_talks_is_listened_to(settings: Settings, share: Share, local_port: int) -> None:
    share.behaviour = "chatty"  # ends when its 800 kB have been read
    lost = threading.Event()
    opened = tunnel.Tunnel(tunnel.prepare(share.settings(settings)), local_port, lost.set)
    opened.start()
    assert lost.wait(10)


def test_a_stopped_client_is_not_lost(settings: Settings, share: Share, local_port: int) -> None:
    lost = threading.Event()
    opened = tunnel.Tunnel(tunnel.prepare(share.settings(settings)), local_port, lost.set)
    opened.start()
    opened.stop()
    opened.stop()
    assert not lost.is_set()


def test_a_stubborn_client_is_killed(settings: Settings, share: Share, local_port: int) -> None:
    share.behaviour = "stubborn"
    ticket = tunnel.prepare(share.settings(settings))
    opened = tunnel.Tunnel(ticket, local_port)
    opened.start()
    opened.stop()
    assert clients() == []


_OWNER = """
import json, sys, threading, time
from spaces_runner.codec import decode
from spaces_runner.tunnel import Ticket, Tunnel
ticket, port = json.load(sys.stdin)
opened = Tunnel(decode(Ticket, ticket), port)
thread = threading.Thread(target=opened.start)  # ends long before the client
thread.start()
thread.join()
print(opened.url, opened._process.pid, flush=True)
time.sleep(60)
"""


def test_the_client_outlives_the_thread_but_not_the_process_that_started_it(
    settings: Settings, share: Share, local_port: int
) -> None:
    import json

    from spaces_runner.codec import encode

    ticket = tunnel.prepare(share.settings(settings))
    owner = subprocess.Popen([sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdin is not None
        assert owner.stdout is not None
        owner.stdin.write(json.dumps([encode(ticket), local_port]))
        owner.stdin.close()
        url, pid = owner.stdout.readline().split()
        time.sleep(0.3)
        assert httpx.get(url).text == "hello"
        client = psutil.Process(int(pid))
        owner.send_signal(signal.SIGKILL)
        owner.wait(10)
        eventually(lambda: not client.is_running() or client.status() == psutil.STATUS_ZOMBIE)
    finally:
        owner.kill()
        owner.wait(10)
        if owner.stdout is not None:
            owner.stdout.close()
