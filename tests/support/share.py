"""A stand-in share server and tunnel client on loopback: real processes and sockets, the real protocol, no encryption.

The server answers the tunnel request and serves the client. The client takes the real one's arguments, opens a port of
its own that forwards to the app's, and says that port as its link, so a test fetches the link over HTTP.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socketserver
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from spaces_runner.settings import Settings

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nstand-in\n-----END CERTIFICATE-----\n"
CLIENT = Path(__file__).with_name("share_client.py")


@dataclass(slots=True)
class Share:
    """What the stand-in does is read at each request, so a test may change it. `served` counts requests by path."""

    url: str
    relay: str  # host:port that clients sign in at
    client: bytes
    behaviour: str = "good"  # of the client: see share_client.py
    down: bool = False  # the share server answers 503
    answer: object = None  # instead of the usual one
    served: Counter[str] = field(default_factory=Counter)

    def settings(self, settings: Settings) -> Settings:
        """`settings` with this share server, and this client as it would behave now."""
        return replace(
            settings,
            share_server=f"{self.url}/v3/tunnel-request",
            tunnel_client=f"{self.url}/{self.behaviour}/frpc_{{system}}_{{machine}}",
            tunnel_client_sha256=hashlib.sha256(self.script(self.behaviour)).hexdigest(),
        )

    def script(self, behaviour: str) -> bytes:
        return self.client.replace(b'BEHAVIOUR = "good"', f'BEHAVIOUR = "{behaviour}"'.encode())

    def tunnel_request(self) -> object:
        host, _, port = self.relay.rpartition(":")
        usual = [{"host": host, "port": int(port), "root_ca": CERTIFICATE}]
        return usual if self.answer is None else self.answer


class _Relay(socketserver.BaseRequestHandler):
    """Where clients sign in: it holds the connection until they go."""

    def handle(self) -> None:
        while self.request.recv(1024):
            pass


class _RelayServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def _handler(share: Share) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            share.served[self.path] += 1
            if self.path == "/v3/tunnel-request":
                status = 503 if share.down else 200
                self.answer(status, json.dumps(share.tunnel_request()).encode())
            else:
                self.answer(200, share.script(self.path.split("/")[1]))

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _interpreter() -> str:
    """A Python that every user may start: the client runs without rights, and a root's home is closed."""
    found = [shutil.which("python3", path=path) for path in ("/usr/bin", "/usr/local/bin")]
    return next((path for path in found if path and os.geteuid() == 0), os.path.realpath(sys.executable))


@pytest.fixture(scope="session")
def _share() -> Iterator[Share]:
    relay = _RelayServer(("127.0.0.1", 0), _Relay)
    client = CLIENT.read_text().replace("#!/usr/bin/env python3", f"#!{_interpreter()} -IS", 1).encode()
    share = Share(url="", relay=f"127.0.0.1:{relay.server_address[1]}", client=client)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(share))
    share.url = f"http://127.0.0.1:{server.server_address[1]}"
    for one in (relay, server):
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.5}, daemon=True).start()
    yield share
    for one in (relay, server):
        one.shutdown()
        one.server_close()


@pytest.fixture
def share(_share: Share) -> Iterator[Share]:
    """The stand-in, well-behaved at the start of each test."""
    _share.behaviour, _share.down, _share.answer = "good", False, None
    _share.served.clear()
    yield _share
    _share.behaviour, _share.down, _share.answer = "good", False, None
