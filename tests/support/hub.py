"""A stand-in for the Hub on loopback: git over smart HTTP, Git LFS, and the API routes that are needed.

Behind it is `git http-backend`. Its LFS server is our own, some thirty lines of the batch protocol's basic transfer: it
counts and misbehaves on request (`hub_faults.py`), which others do not; `lfs_server` has git-lfs ask another one.
Writing to its repositories is `hub_repos.py`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from urllib.parse import unquote, urlsplit

import pytest

from spaces_runner.settings import Settings
from tests.support.hub_faults import Fault, Served
from tests.support.hub_repos import GIT_ENV, Contents, Repository, need_git_lfs

_BACKEND = "git http-backend"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(slots=True)
class Hub:
    """The stand-in. Routes it counts: git-refs, git-pack, lfs-batch, lfs-object, api, resolve."""

    root: Path
    endpoint: str = ""
    lfs_server: str = ""  # where git-lfs is sent for a Space `owner/name`, in place of our own
    tokens: set[str] = field(default_factory=set)
    repositories: dict[str, Repository] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # requests that no route is for
    authorizations: list[tuple[str, str]] = field(default_factory=list)  # (route, header) as they came
    _served: dict[str, Served] = field(default_factory=lambda: defaultdict(Served))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_space(self, name: str, files: Contents, lfs: tuple[str, ...] = (), private: bool = False) -> str:
        """A new Space `owner/name`, in place of one of that name. Returns its commit."""
        if lfs:
            need_git_lfs()
        return self._add(f"spaces/{name}", files, lfs, private)

    def add_model(self, name: str, files: Contents, lfs: tuple[str, ...] = (), private: bool = False) -> str:
        """A new model `owner/name` for `hf_hub_download`. Returns its commit."""
        return self._add(name, files, lfs, private)

    def commit(self, name: str, files: Contents, branch: str = "main") -> str:
        """One more commit on a branch of a Space: `files` are added or changed. Returns it."""
        return self.repository(name).commit(files, branch)

    def repository(self, name: str) -> Repository:
        """The repository behind the Space `owner/name`."""
        return self.repositories[f"spaces/{name}"]

    def settings(self, settings: Settings) -> Settings:
        """`settings` of someone for whom this is the Hub."""
        return replace(settings, hf_endpoint=self.endpoint)

    def accept(self, token: str) -> None:
        """From now on `token` opens what is private."""
        self.tokens.add(token)

    def served(self, route: str) -> Served:
        with self._lock:
            return self._served[route]

    def misbehave(self, fault: Fault) -> None:
        with self._lock:
            self.faults.append(fault)

    def behave(self) -> None:
        with self._lock:
            self.faults.clear()

    def fault(self, route: str) -> Fault:
        """The fault for this request to `route`, or one that does nothing."""
        with self._lock:
            for fault in self.faults:
                if fault.route == route and fault.times > 0:
                    fault.times -= 1
                    return fault
        return Fault(route=route)

    def count(self, route: str, *, requests: int = 0, size: int = 0, ranges: int = 0) -> None:
        with self._lock:
            old = self._served[route]
            self._served[route] = Served(
                requests=old.requests + requests, bytes=old.bytes + size, ranges=old.ranges + ranges
            )

    def _add(self, path: str, files: Contents, lfs: tuple[str, ...], private: bool) -> str:
        repository = Repository.create(self.root / f"{path}.git", self.root / "lfs", lfs=lfs, private=private)
        self.repositories[path] = repository
        return repository.commit(files, "main")


class _Handler(BaseHTTPRequestHandler):
    """One connection. The server's `hub` says what there is."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Quiet: a test looks at `served`."""

    def _handle(self) -> None:
        self.route = ""
        with contextlib.suppress(ConnectionError):
            url = urlsplit(self.path)
            body = self._body()
            path = unquote(url.path).strip("/")
            for pattern, handle in _ROUTES:
                if match := pattern.fullmatch(path):
                    handle(self, match, url.query, body)
                    return
            self.hub.unknown.append(f"{self.command} {self.path}")
            self._send(404, b"Not Found")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    # Answers

    def _send(self, status: int, body: bytes, kind: str = "text/plain", headers: dict[str, str] | None = None) -> None:
        """The one way out: counts the bytes that leave and applies the route's fault."""
        fault = self.hub.fault(self.route) if self.route else Fault(route="")
        if fault.status:
            status, body = fault.status, b"on request"
        if fault.corrupt:
            body = bytes(byte ^ 0xFF for byte in body)
        body = body[: len(body) // 2] if fault.short else body
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        if status == 401 and fault.challenge:
            self.send_header("WWW-Authenticate", 'Basic realm="Authentication required"')
        self.end_headers()
        if self.command != "HEAD":
            self._write(body, fault)

    def _write(self, body: bytes, fault: Fault) -> None:
        cuts = [cut for cut in (fault.drop_after, fault.stall_after) if cut is not None]
        part = body[: cuts[0]] if cuts else body
        self.hub.count(self.route, requests=1, size=len(part), ranges=int("Range" in self.headers))
        self.wfile.write(part)
        self.wfile.flush()
        if fault.stall_after is not None:
            time.sleep(fault.stall_s)
        if cuts:
            self.close_connection = True

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), "application/json", headers)

    # Who may see what

    def _token(self) -> str | None:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            value = base64.b64decode(value).decode().partition(":")[2]
        return value.strip() or None

    def _open(self, name: str, route: str) -> Repository | None:
        """The repository, if it is there and this request may see it; else the Hub's own answer has gone out."""
        self.route = route
        header = self.headers.get("Authorization", "")
        self.hub.authorizations.append((route, header))
        token, repository = self._token(), self.hub.repositories.get(name)
        known = token in self.hub.tokens
        if token and not known:
            self._send(401, b"Invalid credentials")
        elif repository and (known or not repository.private):
            return repository
        else:  # the Hub does not tell strangers what is private and what is not there
            self._send(404 if known else 401, b"Repository not found")
        return None

    # git over smart HTTP

    def git(self, match: re.Match[str], query: str, body: bytes) -> None:
        repository = self._open(match["name"], "git-refs" if match["service"] == "info/refs" else "git-pack")
        if repository is None:
            return
        environment = {
            **GIT_ENV,
            "GIT_PROJECT_ROOT": str(repository.path),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{match['service']}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(_BACKEND.split(), input=body, env=environment, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        self._send(status, content, headers.pop("Content-Type", "text/plain"))

    # Git LFS

    def lfs_batch(self, match: re.Match[str], query: str, body: bytes) -> None:
        if self._open(match["name"], "lfs-batch") is None:
            return
        if self.hub.lfs_server:
            self._send(307, b"", headers={"Location": self.hub.lfs_server + self.path.removeprefix("/spaces")})
            return
        asked = json.loads(body)["objects"]
        answer = {"transfer": "basic", "objects": [self._lfs_object(match["name"], item) for item in asked]}
        self._send(200, json.dumps(answer).encode(), "application/vnd.git-lfs+json")

    def _lfs_object(self, name: str, item: dict[str, object]) -> dict[str, object]:
        if not (self.hub.root / "lfs" / str(item["oid"])).exists():
            return {**item, "error": {"code": 404, "message": "Object does not exist"}}
        return {**item, "actions": {"download": {"href": f"{self.hub.endpoint}/lfs/{name}/{item['oid']}"}}}

    def lfs_object(self, match: re.Match[str], query: str, body: bytes) -> None:
        if self._open(match["name"], "lfs-object"):
            self._send_file((self.hub.root / "lfs" / match["oid"]).read_bytes(), {})

    def _send_file(self, content: bytes, headers: dict[str, str]) -> None:
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None:
            self._send(200, content, "application/octet-stream", {"Accept-Ranges": "bytes", **headers})
            return
        first, last = int(asked[1]), int(asked[2] or len(content) - 1)
        place = {"Content-Range": f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"}
        self._send(206, content[first : last + 1], "application/octet-stream", {**headers, **place})

    # The Hub's API

    def api_subdomain(self, match: re.Match[str], query: str, body: bytes) -> None:
        self.route = "api"
        for path, repository in self.hub.repositories.items():
            name = path.removeprefix("spaces/")
            if path != name and re.sub(r"[^a-z0-9]+", "-", name.lower()) == match["label"] and not repository.private:
                self._json({"id": name, "runtime": {"stage": "RUNNING"}})
                return
        self._json({"error": "Repository not found"}, 404)

    def api_info(self, match: re.Match[str], query: str, body: bytes) -> None:
        prefix = "spaces/" if match["kind"] == "spaces" else ""
        repository = self._open(prefix + match["name"], "api")
        if repository is None:
            return
        sha = repository.resolve(match["revision"] or "main")
        if sha is None:
            self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return
        files = [{"rfilename": path} for path in repository.files(sha)]
        self._json(
            {
                "id": match["name"],
                "modelId": match["name"],
                "sha": sha,
                "private": repository.private,
                "siblings": files,
            }
        )

    def api_tree(self, match: re.Match[str], query: str, body: bytes) -> None:
        repository = self._open(match["name"], "api")
        if repository:
            sha = repository.resolve(match["revision"]) or ""
            sizes = {path: len(repository.read(sha, path) or b"") for path in repository.files(sha)}
            self._json([{"type": "file", "path": path, "size": size, "oid": sha} for path, size in sizes.items()])

    def resolve(self, match: re.Match[str], query: str, body: bytes) -> None:
        """A file of a model: `hf_hub_download` asks with HEAD for its hash and size, then GETs it."""
        repository = self._open(match["name"], "resolve")
        sha = repository.resolve(match["revision"]) if repository else None
        if repository is None:
            return
        content = repository.read(sha, match["path"]) if sha else None
        if sha is None or content is None:
            self._send(404, b"", headers={"X-Error-Code": "EntryNotFound" if sha else "RevisionNotFound"})
            return
        tag = hashlib.sha256(content).hexdigest()
        self._send_file(content, {"X-Repo-Commit": sha, "ETag": f'"{tag}"', "X-Linked-Size": str(len(content))})


_ROUTES = tuple(
    (re.compile(pattern), handle)
    for pattern, handle in (
        (r"(?P<name>[^/]+/[^/]+/[^/]+?)(\.git)?/(?P<service>info/refs|git-upload-pack)", _Handler.git),
        (r"(?P<name>[^/]+/[^/]+/[^/]+?)(\.git)?/info/lfs/objects/batch", _Handler.lfs_batch),
        (r"lfs/(?P<name>.+)/(?P<oid>[0-9a-f]{64})", _Handler.lfs_object),
        (r"api/spaces/by-subdomain/(?P<label>[^/]+)", _Handler.api_subdomain),
        (r"api/(?P<kind>spaces|models)/(?P<name>[^/]+/[^/]+)(/revision/(?P<revision>.+))?", _Handler.api_info),
        (r"api/models/(?P<name>[^/]+/[^/]+)/tree/(?P<revision>.+)", _Handler.api_tree),
        (r"(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>refs/pr/\d+|[^/]+)/(?P<path>.+)", _Handler.resolve),
    )
)


@contextlib.contextmanager
def serve_hub() -> Iterator[Hub]:
    """A stand-in Hub that answers while the block runs."""
    with TemporaryDirectory(prefix="sr-hub-") as folder:
        hub = Hub(root=Path(folder))
        handler = cast(type[BaseHTTPRequestHandler], type("Handler", (_Handler,), {"hub": hub}))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield hub
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A stand-in Hub with nothing in it, for one test."""
    with serve_hub() as served:
        yield served
