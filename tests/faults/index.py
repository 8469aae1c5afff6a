"""A package index on loopback that misbehaves on request. Its wheels are real and all but empty.

So a Space of the Gradio SDK is resolved and installed by the real uv within a second, whatever program it is.
"""

from __future__ import annotations

import hashlib
import io
import random
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.hub_faults import Fault

PACKAGES = {
    "gradio": "6.31.0",
    "uvicorn": "0.54.0",
    "websockets": "16.0",
    "huggingface_hub": "2.4.0",
    "requests": "2.34.2",
    "setuptools": "80.9.0",
    "spaces": "0.44.0",
    "pip": "26.0",
}
BALLAST = 200_000  # bytes that cannot be packed, so that a transfer has a middle


def metadata(name: str, version: str) -> bytes:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()


def wheel(name: str, version: str) -> bytes:
    """A wheel that installs, of one module and some ballast."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": b"",
        f"{name}/ballast.bin": random.Random(name).randbytes(BALLAST),
        f"{info}/METADATA": metadata(name, version),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(path, content)
    return held.getvalue()


WHEELS = {f"{name}-{version}-py3-none-any.whl": wheel(name, version) for name, version in PACKAGES.items()}


@dataclass(slots=True, kw_only=True)
class Index:
    """Routes that may misbehave: "page" and "wheel". `served` counts what was asked for."""

    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=lambda: {"page": 0, "wheel": 0})
    closing: threading.Event = field(default_factory=threading.Event)  # ends those that stall
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def misbehave(self, fault: Fault) -> None:
        with self._lock:
            self.faults.append(fault)

    def behave(self) -> None:
        with self._lock:
            self.faults.clear()

    def fault(self, route: str) -> Fault:
        """The one of this request, or one that does nothing."""
        with self._lock:
            self.served[route] += 1
            for fault in self.faults:
                if fault.route == route and fault.times > 0:
                    fault.times -= 1
                    return fault
        return Fault(route=route)


class _Handler(BaseHTTPRequestHandler):
    index: Index

    def do_GET(self) -> None:
        kind, _, name = self.path.strip("/").partition("/")
        with suppress(ConnectionError):
            if name.endswith(".metadata"):  # PEP 658: what a resolution needs to know of a wheel
                package, version, _ = name.split("-", 2)
                self._send(metadata(package, version), "text/plain", self.index.fault("page"))
            elif kind == "files" and name in WHEELS:
                self._send(WHEELS[name], "application/octet-stream", self.index.fault("wheel"))
            elif links := self._links(name):
                self._send(links.encode(), "text/html", self.index.fault("page"))
            else:
                self.send_error(404)

    def _links(self, package: str) -> str:
        """Its page, as PEP 503 has it."""
        found = [file for file in WHEELS if file.split("-")[0].replace("_", "-") == package]
        hashes = {file: hashlib.sha256(WHEELS[file]).hexdigest() for file in found}
        return "".join(
            f'<a href="/files/{file}#sha256={hashes[file]}" data-core-metadata="true">{file}</a>' for file in found
        )

    def _send(self, body: bytes, kind: str, fault: Fault) -> None:
        self.send_response(fault.status or 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cuts = [cut for cut in (fault.drop_after, fault.stall_after) if cut is not None]
        self.wfile.write(body[: cuts[0]] if cuts else body)
        self.wfile.flush()
        if fault.stall_after is not None:
            deadline = time.monotonic() + fault.stall_s
            while time.monotonic() < deadline and not self.index.closing.wait(0.1):
                if fault not in self.index.faults:  # it behaves again
                    return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Quiet."""


@contextmanager
def serving() -> Iterator[Index]:
    """The index, while the block runs."""
    index = Index()
    handler = type("Handler", (_Handler,), {"index": index})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
