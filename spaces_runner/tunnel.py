"""A public link for any local port, by the share server's own protocol: an address, a certificate and a checked client.

Knows the share server and its client (frpc), not what is behind the port. `prepare` talks to the network and needs
httpx; `Tunnel` is the standard library alone, for processes that must stay small: they get their ticket by
`fetch_ticket`, from `python -m spaces_runner.tunnel`. The protocol is that of gradio.tunneling and gradio.networking.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread, current_thread
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from spaces_runner.codec import decode, encode
from spaces_runner.errors import ShareFailed
from spaces_runner.settings import Settings
from spaces_runner.types import ErrorInfo

if TYPE_CHECKING:
    import ssl

# Of version 0.3, by the names of its files. Source: CHECKSUMS of gradio.tunneling, Gradio 6.31.
CHECKSUMS = {
    "frpc_linux_amd64": "c791d1f047b41ff5885772fc4bf20b797c6059bbd82abb9e31de15e55d6a57c4",
    "frpc_linux_arm64": "823ced25104de6dc3c9f4798dbb43f20e681207279e6ab89c40e2176ccbf70cd",
    "frpc_linux_arm": "4b563beb2e36c448cc688174e20b53af38dc1ff2b5e362d4ddd1401f2affbfb7",
    "frpc_linux_386": "4c2f2a48cd71571498c0ac8a4d42a055f22cb7f14b4b5a2b0d584220fd60a283",
    "frpc_linux_riscv64": "1658eed7e8c14ea76e1d95749d58441ce24147c3d559381832c725c29cfc3df3",
    "frpc_darwin_amd64": "930f8face3365810ce16689da81b7d1941fda4466225a7bbcbced9a2916a6e15",
    "frpc_darwin_arm64": "dfac50c690aca459ed5158fad8bfbe99f9282baf4166cf7c410a6673fbc1f327",
}
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "i386": "386", "armv7l": "arm"}
CLIENT_BYTES = 128 * 1024**2  # a client of 0.3 has 12 MB
ANSWER_S = 15.0  # for the share server to answer
FETCH_S = 60.0  # for each read of the client
START_S = 30.0  # for the client to say its link
STOP_S = 3.0  # between TERM and KILL
LOOPBACK = "127.0.0.1"
NO_LINK = "The local link works all the same. Check that this machine may reach the share server."
_LINK = re.compile(r"https://[A-Za-z0-9.-]+(:\d{1,5})?|http://(127\.0\.0\.1|localhost)(:\d{1,5})?")
_SUCCESS = re.compile(r"start proxy success: (\S+)")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """All that a tunnel client needs to run: where to, with which certificate, as whom."""

    host: str
    port: int
    certificate: str | None  # path of the server's root certificate; None: no TLS, on loopback only
    client: str  # path of the executable
    sha256: str  # of the client, checked at every start
    uid: int | None = None  # who the client runs as, where the runner is root


# The ticket: from the network.


def prepare(settings: Settings) -> Ticket:
    """Ask the share server for its address and have the client at hand. Raises ShareFailed; needs httpx."""
    host, port, root_ca = _ask_server(settings)
    client, sha256 = _ready_client(settings)
    certificate = _keep(settings.bin_dir, "share-server", root_ca) if root_ca else None
    uid = settings.uid_base - 2 if os.geteuid() == 0 else None  # below those of the Spaces
    return Ticket(host=host, port=port, certificate=certificate, client=client, sha256=sha256, uid=uid)


def fetch_ticket(settings: Settings, timeout_s: float = 90.0) -> Ticket:
    """`prepare` in a process of its own, which takes its memory with it. Raises ShareFailed."""
    job = json.dumps(encode(replace(settings, hf_token=None)))
    command = [sys.executable, "-m", "spaces_runner.tunnel"]
    package = Path(__file__).parents[1]
    try:
        done = subprocess.run(
            command, input=job, capture_output=True, text=True, timeout=timeout_s, cwd=package, check=False
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ShareFailed("The public link could not be prepared in time.", hint=NO_LINK) from error
    if "ticket" in answer:
        return decode(Ticket, answer["ticket"])
    info = decode(ErrorInfo, answer["error"])
    raise ShareFailed(info.message, hint=info.hint, lines=info.lines)


def _ask_server(settings: Settings) -> tuple[str, int, str]:
    """Host, port and root certificate ("": none) of the server that the tunnel ends at."""
    import httpx

    address = settings.share_server
    try:
        answer = httpx.get(address, timeout=ANSWER_S, verify=_trust(settings)).raise_for_status().json()[0]
        host, port, root_ca = str(answer["host"]), int(answer["port"]), str(answer.get("root_ca") or "")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise ShareFailed(f"The share server {address} does not answer: {error}", hint=NO_LINK) from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ShareFailed(f"The share server {address} answers something else.", hint=NO_LINK) from error
    if not _HOST.fullmatch(host) or host.startswith("-") or not 0 < port < 65536:
        raise ShareFailed(f"The share server {address} names an address that is none.", hint=NO_LINK)
    if not root_ca and host not in (LOOPBACK, "localhost"):
        raise ShareFailed(f"The share server {address} offers no encryption.", hint="Use one that has a certificate.")
    return host, port, root_ca


def _trust(settings: Settings) -> ssl.SSLContext | bool:
    if settings.ca_file is None:
        return True
    import ssl

    return ssl.create_default_context(cafile=settings.ca_file)


def _ready_client(settings: Settings) -> tuple[str, str]:
    """Path and checksum of the client. A file that is not the one expected is removed and fetched again, once."""
    url = _client_url(settings)
    sha256 = settings.tunnel_client_sha256 or CHECKSUMS.get(_name(url))
    if sha256 is None:
        raise ShareFailed(
            f"No checksum is known of the tunnel client {url}.", hint="Set SPACES_RUNNER_TUNNEL_CLIENT_SHA256 to it."
        )
    path = settings.bin_dir / f"{_name(url)}-{sha256[:16]}"
    for _ in range(2):
        if not path.exists():
            _fetch(url, path, settings)
        if _digest(path) == sha256:
            return str(path), sha256
        path.unlink(missing_ok=True)
    raise ShareFailed(
        f"The tunnel client of {url} is not the one expected: its checksum is wrong.",
        hint="It was removed and not run. If you trust the new one, set SPACES_RUNNER_TUNNEL_CLIENT_SHA256.",
    )


def _client_url(settings: Settings) -> str:
    machine = platform.machine().lower()
    try:
        return settings.tunnel_client.format(system=platform.system().lower(), machine=MACHINES.get(machine, machine))
    except (KeyError, IndexError, ValueError) as error:
        raise ShareFailed(
            f"The address of the tunnel client is none: {settings.tunnel_client}",
            hint="SPACES_RUNNER_TUNNEL_CLIENT may hold {system} and {machine}, nothing else in braces.",
        ) from error


def _name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2] or "client"


def _fetch(url: str, path: Path, settings: Settings) -> None:
    """Put what `url` serves at `path`, whole or not at all."""
    import httpx

    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with (
            part.open("wb") as file,
            httpx.stream("GET", url, timeout=FETCH_S, follow_redirects=True, verify=_trust(settings)) as response,
        ):
            response.raise_for_status()
            for chunk in response.iter_bytes():
                if file.tell() > CLIENT_BYTES:
                    raise ShareFailed(f"The tunnel client of {url} is too large to be one.")
                file.write(chunk)
        part.chmod(0o755)
        part.replace(path)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise ShareFailed(f"The tunnel client cannot be fetched from {url}: {error}", hint=NO_LINK) from error
    finally:
        part.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(folder: Path, name: str, text: str) -> str:
    """The path of a file that holds `text`, named after it: two servers never share one."""
    import hashlib

    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.pem"
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text)
    part.chmod(0o644)
    part.replace(path)
    return str(path)


# The tunnel: a process.


def _nobody() -> None:
    """Where nobody waits for the loss."""


@dataclass(slots=True)
class Tunnel:
    """One tunnel client, from `start` to `stop`. `on_lost` is called, from a thread, when it dies by itself after that.

    It is not started again: who owns it decides when, with a new Tunnel. The link is then another one.
    """

    ticket: Ticket
    local_port: int
    on_lost: Callable[[], None] = _nobody
    url: str | None = None
    _process: subprocess.Popen[bytes] | None = None
    _thread: Thread | None = None
    _settled: Event = field(default_factory=Event)
    _stopping: Event = field(default_factory=Event)
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    def start(self, timeout_s: float = START_S) -> str:
        """The public link. Raises ShareFailed when the client has none to say within `timeout_s`, or is silent."""
        # The client is the child of a thread that lives as long as it does: its parent-death signal means that thread.
        self._thread = Thread(target=self._run, name=f"tunnel-{self.local_port}", daemon=True)
        self._thread.start()
        settled = self._settled.wait(timeout_s)
        if self.url is not None:
            return self.url
        self.stop()
        what = "gave no link" if settled else f"did not say its link within {timeout_s:g} s"
        raise ShareFailed(f"The tunnel client {what}.", hint=NO_LINK, lines=tuple(self._lines))

    def stop(self) -> None:
        """End the client: TERM, then KILL. Can be called at any time, and again."""
        self._stopping.set()
        thread = self._thread
        for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
            if self._process is not None:
                end(self._process)
            if thread is None or thread is current_thread():
                return
            thread.join(STOP_S)
            if not thread.is_alive():
                return

    def _run(self) -> None:
        try:
            with subprocess.Popen(
                _command(self.ticket, self.local_port),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={},
                process_group=0,  # not that of a terminal's Ctrl-C; but our session, by which a shim knows its helpers
            ) as process:
                self._process = process
                if self._stopping.is_set():
                    process.kill()
                if process.stdout is not None:
                    self._drain(process.stdout)
        except OSError as error:
            self._lines.append(str(error))
        lost = self.url is not None and not self._stopping.is_set()
        self._settled.set()
        if lost:
            self.on_lost()

    def _drain(self, output: IO[bytes]) -> None:
        """Read all that the client says, to its end: a full pipe would stop it."""
        for raw in iter(lambda: output.readline(4096), b""):
            line = "".join(c for c in raw.decode("utf-8", "replace") if c.isprintable())
            self._lines.append(line)
            if self._settled.is_set():
                continue
            found = _SUCCESS.search(line)
            if found is not None:
                self.url = _link(found[1])
            if found is not None or "login to server failed" in line:
                self._settled.set()


def _link(text: str) -> str | None:
    """`text` when it is a link that can be shown: https, or http on loopback; without path, query or user."""
    link = text.rstrip("/")
    return link if _LINK.fullmatch(link) else None


def _command(ticket: Ticket, local_port: int) -> list[str]:
    """The client by way of tunnel_exec, with the arguments that Gradio gives it."""
    exec_path = str(Path(__file__).with_name("tunnel_exec.py"))
    uid = "-" if ticket.uid is None else str(ticket.uid)
    start = [sys.executable, "-I", "-S", exec_path, str(os.getpid()), uid, ticket.sha256, ticket.client]
    name = os.urandom(24).hex()  # of the proxy, not a secret
    where = ["http", "-n", name, "-l", str(local_port), "-i", LOOPBACK, "--uc", "--sd", "random", "--ue"]
    server = ["--server_addr", f"{ticket.host}:{ticket.port}", "--disable_log_color"]
    trust = ["--tls_enable", "--tls_trusted_ca_file", ticket.certificate] if ticket.certificate else []
    return [*start, *where, *server, *trust]


def main() -> int:
    """Settings on standard input, {"ticket": ...} or {"error": ...} on standard output."""
    settings = decode(Settings, json.load(sys.stdin))
    try:
        answer = {"ticket": encode(prepare(settings))}
    except ShareFailed as error:
        answer = {"error": encode(error.info)}
    json.dump(answer, sys.stdout)
    return 0 if "ticket" in answer else 1


if __name__ == "__main__":
    raise SystemExit(main())
