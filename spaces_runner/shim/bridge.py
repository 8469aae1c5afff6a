"""The runner's side of the bootstrap's conversation: which port, whether to share, what is up. See bootstrap's module.

Knows ports and callbacks, nothing of processes, stores or tunnels. Standard library only, since it lives in the shim;
it believes nothing that a Space says: who speaks is told by the kernel, ports must be the run's, links are our own.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from spaces_runner.errors import LaunchError
from spaces_runner.ports import PortBlock, is_free, listener

MAX_PATH = 107  # bytes; the kernel's limit for a Unix socket
MAX_LINE = 64 * 1024  # bytes of a question
MAX_CONNECTIONS = 32
MAX_FAILURES = 20  # said on; a Space may say as many as it likes
MAX_TEXT = 200  # characters of what a Space says of itself
MAX_RAISED, MAX_RAISED_TEXT = 40, 500  # lines of a traceback, and their characters
READ_S = 10.0
LOOPBACK = "127.0.0.1"
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!-]{0,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """An app of the Space answers. `version` and `title` are Gradio's and the app's, "" where it is not Gradio."""

    port: int
    local_url: str
    share_url: str | None
    version: str
    title: str
    pid: int


@dataclass(slots=True, kw_only=True)
class Bridge:
    """Listens on `socket_path` and answers one question a connection. The callbacks are called from its threads.

    `open_tunnel(port)` gives the public link of a port, the standing one when it is asked again, or None; it is called
    by one thread at a time, at most for the block's ports. `on_up` may come again for a port, with a new process or
    title; the newest counts. `on_failed(patch, error)` says what did not work. Only `allowed_uid` may speak (None: the
    user that the bridge runs as).

    `by_script`: the app is up once the Space's Python says that its script ran, whatever answers before; `on_raised`
    gets the traceback of one that raised instead. `on_exported(name)`: an app of that name is launched for the script.
    """

    socket_path: Path
    ports: PortBlock
    share: bool
    open_tunnel: Callable[[int], str | None]
    on_up: Callable[[Up], None]
    on_failed: Callable[[str, str], None]
    allowed_uid: int | None = None
    by_script: bool = False
    script_ended: Event = field(default_factory=Event)  # or nobody listens any more
    on_exported: Callable[[str], None] = lambda name: None
    on_raised: Callable[[tuple[str, ...]], None] = lambda lines: None
    _socket: socket.socket | None = None
    _closed: Event = field(default_factory=Event)
    _slots: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MAX_CONNECTIONS))
    _tunnel_lock: Lock = field(default_factory=Lock)
    _watch_lock: Lock = field(default_factory=Lock)
    _hub_port: int = 0
    _watched: set[int] = field(default_factory=set)
    _launched: set[int] = field(default_factory=set)
    _linkless: set[int] = field(default_factory=set)
    _ups: dict[int, Up] = field(default_factory=dict)
    _failures: set[tuple[str, str]] = field(default_factory=set)

    def start(self) -> None:
        """Listen. Raises LaunchError when the socket cannot be made."""
        path = str(self.socket_path)
        if len(os.fsencode(path)) > MAX_PATH:
            raise LaunchError(
                f"The path of the Space's socket is longer than {MAX_PATH} bytes: {path}",
                hint="Set SPACES_RUNNER_HOME to a shorter path.",
            )
        self.socket_path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(path)
            if self.allowed_uid is not None:
                os.chown(path, self.allowed_uid, -1)
            self.socket_path.chmod(0o600)
            listening.listen(MAX_CONNECTIONS)
        except OSError as error:
            listening.close()
            raise LaunchError(f"The Space's socket cannot be made: {error}") from error
        self._socket = listening
        Thread(target=self._accept, args=(listening,), name="bridge", daemon=True).start()

    def close(self) -> None:
        """Stop listening and remove the socket. What is being answered ends by itself."""
        self._closed.set()
        self.script_ended.set()
        if self._socket is not None:
            with suppress(OSError):  # closed before
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
            self._socket.close()
        self.socket_path.unlink(missing_ok=True)

    # Connections.

    def _accept(self, listening: socket.socket) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                self._closed.wait(0.2)  # out of descriptors for a moment, or closed
                continue
            if self._slots.acquire(blocking=False):
                Thread(target=self._serve, args=(connection,), name="bridge-answer", daemon=True).start()
            else:
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                pid, uid = _peer(connection)
                if uid != (os.geteuid() if self.allowed_uid is None else self.allowed_uid):
                    return
                question = read_question(connection)
                if question is None:
                    return
                answer = self._answer(question, pid)
                if answer is not None:
                    connection.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:  # the asker went away
            pass
        finally:
            self._slots.release()

    def _answer(self, question: dict[str, Any], pid: int) -> dict[str, Any] | None:
        match question.get("ask"):
            case "launch":
                return self._launch(question)
            case "port":
                return self._port(pid)
            case "tunnel":
                return self._tunnel(question.get("port"))
            case "up":
                self._up(question, pid)
            case "script" if self.by_script:
                self._script(question.get("lines"), pid)
            case "exported":
                self.on_exported(_text(question.get("name")))
            case "failed":
                self._failed(_text(question.get("patch")), _text(question.get("error")))
        return None

    # Answers.

    def _launch(self, question: dict[str, Any]) -> dict[str, Any]:
        if question.get("running") is True:  # a second `launch()` of a server that runs keeps its port
            return {"share": self.share}
        asked = question.get("asked")
        port = self.ports.take(asked if type(asked) is int else None)
        if port is None:
            self._failed("launch", "no port is free")
            return {"share": False, "server_name": LOOPBACK}
        self._launched.add(port)
        return {"share": self.share, "server_name": LOOPBACK, "server_port": port}

    def _port(self, pid: int) -> dict[str, Any]:
        with self._watch_lock:
            if self._hub_port == 0:  # chosen once: who asks later may be a child of who bound it
                base = self.ports.base
                self._hub_port = base if self.by_script or is_free(base) else self.ports.take() or base
            port = self._hub_port
            if port not in self._watched and not self.by_script:
                self._watched.add(port)
                Thread(target=self._watch, args=(port, pid), name="bridge-watch", daemon=True).start()
        return {"server_name": LOOPBACK, "server_port": port}

    def _tunnel(self, port: object) -> dict[str, Any]:
        if type(port) is not int or port not in self.ports:
            self._failed("tunnel", f"port {_text(port)} is not this run's")
            return {}
        url = self._link(port)
        return {"url": url} if url else {}

    def _up(self, question: dict[str, Any], pid: int) -> None:
        scheme, port = _address(question.get("local_url"))
        if port not in self.ports:
            self._failed("up", f"{_text(question.get('local_url'))} is not an address of this run")
            return
        self._launched.discard(port)
        version = _text(question.get("version"))
        self._say_up(
            Up(
                port=port,
                local_url=f"{scheme}://{LOOPBACK}:{port}/",
                share_url=self._link(port),
                version=version if _VERSION.fullmatch(version) else "",
                title=_text(question.get("title")),
                pid=pid,
            )
        )

    def _script(self, lines: object, pid: int) -> None:
        self.script_ended.set()
        raised = lines if isinstance(lines, list) else []
        if raised:
            self.on_raised(tuple(_text(line, MAX_RAISED_TEXT) for line in raised[-MAX_RAISED:]))
            return
        port = self.ports.base
        url = f"http://{LOOPBACK}:{port}/"
        self._say_up(Up(port=port, local_url=url, share_url=self._link(port), version="", title="", pid=pid))

    # What they need.

    def _watch(self, port: int, pid: int) -> None:
        """A server that is not Gradio says nothing: it is up when its port answers. A Gradio launch there speaks up."""
        begun = time.monotonic()
        while not self._closed.is_set() and port not in self._launched:
            if answers_http(port):
                url = f"http://{LOOPBACK}:{port}/"
                self._say_up(Up(port=port, local_url=url, share_url=self._link(port), version="", title="", pid=pid))
                break
            self._closed.wait(0.1 if time.monotonic() - begun < 60 else 1.0)
        with self._watch_lock:
            self._watched.discard(port)

    def _link(self, port: int) -> str | None:
        """Our own link of `port`. A port where another user's process listens gets none."""
        if not self.share:
            return None
        with self._tunnel_lock:
            if port in self._linkless:
                return None
            owner = listener(port) if self.allowed_uid is not None else None
            if owner not in (None, self.allowed_uid):
                self._failed("tunnel", f"port {port} belongs to another user")
                return None
            url = self.open_tunnel(port)
            if url is None:
                self._linkless.add(port)
            return url

    def _say_up(self, up: Up) -> None:
        if self._ups.get(up.port) != up and not self._closed.is_set():
            self._ups[up.port] = up
            self.on_up(up)

    def _failed(self, patch: str, error: str) -> None:
        if (patch, error) not in self._failures and len(self._failures) < MAX_FAILURES:
            self._failures.add((patch, error))
            self.on_failed(patch, error)


def read_question(connection: socket.socket) -> dict[str, Any] | None:
    """The JSON object of one line; None for anything else, too long or too slow."""
    line, deadline = b"", time.monotonic() + READ_S
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or len(line) > MAX_LINE:
            return None
        connection.settimeout(left)
        part = connection.recv(4096)
        if not part:
            return None
        line += part
    try:
        question = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return question if isinstance(question, dict) else None


def answers_http(port: int) -> bool:
    """Whether a server on loopback's `port` answers a request with any status."""
    request = f"GET / HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5.0) as connection:
            connection.sendall(request.encode())
            return connection.recv(8).startswith(b"HTTP/")
    except OSError:
        return False


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end, as the kernel knows them: in a namespace a child calls itself 1."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid, uid


def _address(url: object) -> tuple[str, int]:
    """Scheme and port of `url`; port 0 for what is no web address."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        port = parts.port or 0
    except ValueError:
        return "http", 0
    return ("https" if parts.scheme == "https" else "http"), port


def _text(value: object, most: int = MAX_TEXT) -> str:
    """What a Space says, as a short line of printable characters."""
    return "".join(character for character in str(value or "")[:most] if character.isprintable())
