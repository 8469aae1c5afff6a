"""Who may do what: the gate every request passes before it reaches the page. Knows requests, nothing of Spaces.

Whoever may use the page may run any code on this machine, so a request is nobody's until it proves otherwise:

* the owner's token comes once by `?token=`, by the sign-in form or, from a program, as a bearer header; a browser
  gets a cookie in exchange, good for the host name it was given on;
* a page of another site never acts with that cookie. Every share link is a sibling of every other, and cookies do not
  tell ports apart, so the Origin and Sec-Fetch headers decide, not SameSite;
* only known host names are answered (else a foreign name that resolves to this machine would be "the same origin");
* a process of a Space is never the owner, whatever cookie it shows: browsers send cookies of 127.0.0.1 to every port.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import signin

PUBLIC = frozenset({"/healthz"})  # what anybody may read
LOGIN = "/login"
COOKIE_DAYS = 30
FORM_BYTES = 4096
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Headers by which a caller could make Gradio believe it is served somewhere else.
_STEERING = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix"}
    | {b"x-forwarded-port", b"x-gradio-server", b"x-gradio-user"}
)
# The page loads nothing from elsewhere, may not be framed, and may post nowhere else.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'self'; object-src 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_PROTECTION = (
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


@dataclass(slots=True)
class Hosts:
    """The host names this server answers to. `add` takes a name, `name:port` or a URL, which alone can say https.

    `addresses`: answer to any bare address, too, for a server that listens on all of them. A foreign page can point a
    name of its own at this machine, but not make the browser call it by its number.
    """

    addresses: bool = False
    _https: dict[str, bool] = field(default_factory=dict)

    def add(self, entry: str) -> None:
        parts = urlsplit(entry if "://" in entry else f"http://{entry}")
        if not parts.hostname:
            raise ValueError(f"{entry!r} is no host name")
        self._https[parts.netloc.lower()] = parts.scheme == "https"

    def remove(self, entry: str) -> None:
        self._https.pop(urlsplit(entry if "://" in entry else f"http://{entry}").netloc.lower(), None)

    def find(self, host: str) -> Host | None:
        """The host a request names, or None for one that nobody allowed. Loopback names are known at any port: a
        forwarded port (ssh -L) changes it, and no foreign page can carry such a name."""
        name = _hostname(host)
        if name is None:
            return None
        if name in LOOPBACK:
            return Host(netloc=host, https=False, loopback=True)
        https = self._https.get(host, self._https.get(name))
        if https is None and self.addresses and _is_address(name):
            https = False
        return None if https is None else Host(netloc=host, https=https, loopback=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    netloc: str
    https: bool
    loopback: bool

    @property
    def origin(self) -> str:
        return f"{'https' if self.https else 'http'}://{self.netloc}"

    @property
    def cookie(self) -> str:
        """`__Host-` binds a cookie to its host, but needs https. Over http the port tells two servers apart."""
        return "__Host-spaces-runner" if self.https else f"spaces-runner-{self.netloc.rpartition(':')[2]}"


def _hostname(host: str) -> str | None:
    """The name in a Host header, or None where it is not just a name and perhaps a port."""
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return None
    plain = parts.netloc == host and parts.username is None and port != 0
    return parts.hostname if plain else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@dataclass(slots=True)
class Limiter:
    """Wrong tokens, per host name, so that strangers on a public link cannot lock the owner out at home.

    Five in a minute, then a wait that doubles with every further wrong one.
    """

    clock: Callable[[], float] = time.monotonic
    _wrong: dict[str, list[float]] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)
    _wait: dict[str, float] = field(default_factory=dict)

    ALLOWED = 5
    WINDOW_S = 60.0
    LONGEST_S = 900.0

    def wait(self, key: str) -> float:
        """Seconds until a token is looked at again; 0.0 when one would be now."""
        return max(0.0, self._until.get(key, 0.0) - self.clock())

    def wrong(self, key: str) -> None:
        now = self.clock()
        recent = [at for at in self._wrong.get(key, []) if now - at < self.WINDOW_S]
        self._wrong[key] = [*recent, now]
        if len(self._wrong[key]) >= self.ALLOWED or self._wait.get(key):
            self._wait[key] = min(self._wait.get(key, self.WINDOW_S / 2) * 2, self.LONGEST_S)
            self._until[key] = now + self._wait[key]

    def right(self, key: str) -> None:
        for table in (self._wrong, self._until, self._wait):
            table.pop(key, None)


@dataclass(slots=True)
class Request:
    """What the gate reads of a scope. `headers` holds the last of each name; a second Host makes the request bad."""

    method: str
    path: str
    query: str
    headers: dict[bytes, str]
    hosts: int
    peer: tuple[str, int] | None

    @classmethod
    def read(cls, scope: Scope) -> Request:
        pairs = scope["headers"]
        client = scope.get("client")
        return cls(
            method=scope["method"],
            path=scope["path"],
            query=scope.get("query_string", b"").decode("latin-1"),
            headers={name.lower(): value.decode("latin-1") for name, value in pairs},
            hosts=sum(name.lower() == b"host" for name, _ in pairs),
            peer=(client[0], client[1]) if client else None,
        )

    @property
    def token(self) -> str | None:
        values = parse_qs(self.query, keep_blank_values=True).get("token")
        return values[0] if values else None

    @property
    def bearer(self) -> str | None:
        scheme, _, value = self.headers.get(b"authorization", "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" else None

    @property
    def from_browser(self) -> bool:
        return "text/html" in self.headers.get(b"accept", "")

    def cookie(self, name: str) -> str | None:
        try:
            jar = SimpleCookie(self.headers.get(b"cookie", ""))
        except CookieError:
            return None
        return jar[name].value if name in jar else None

    def foreign(self, host: Host) -> bool:
        """Whether a page of another origin sent this. Programs send neither header."""
        origin = self.headers.get(b"origin")
        if origin is not None and origin != host.origin:
            return True
        return self.headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin")

    @property
    def arrives(self) -> bool:
        """Whether a person follows a link to the page: harmless from anywhere, because it only shows it."""
        return (
            self.method == "GET"
            and self.path == "/"
            and self.headers.get(b"sec-fetch-mode", "navigate") == "navigate"
            and self.headers.get(b"sec-fetch-dest", "document") == "document"
            and b"origin" not in self.headers
        )


def _nobody_is_a_space(peer: tuple[str, int]) -> bool:
    return False


@dataclass(slots=True)
class Gate:
    """The outermost ASGI application. `hosts` may grow while it serves; `is_space` tells a Space's own connections."""

    app: ASGIApp
    token: str = field(repr=False)
    hosts: Hosts
    is_space: Callable[[tuple[str, int]], bool] = _nobody_is_a_space
    limiter: Limiter = field(default_factory=Limiter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, _protected(send))
        else:
            await send({"type": "websocket.close", "code": 4403})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.read(scope)
        host = self.hosts.find(request.headers.get(b"host", "").lower()) if request.hosts == 1 else None
        if host is None or not _plausible(host, request.peer):
            await signin.plain(send, 421, "This server does not know that host name. --allow-host adds one.")
        elif request.foreign(host) and not request.arrives:
            await signin.plain(send, 403, "A page of another site may not use this server.")
        elif request.path in PUBLIC:
            await self._pass(scope, receive, send, host, "nobody")
        elif request.peer is not None and self.is_space(request.peer):
            await signin.plain(send, 403, "A Space may not use this server.")
        elif request.path == LOGIN and request.method == "POST":
            await self._exchange(request, host, send, await _form_token(receive))
        elif request.path in ("/", LOGIN) and request.method == "GET" and request.token is not None:
            await self._exchange(request, host, send, request.token)
        else:
            await self._by_credentials(scope, receive, send, request, host)

    async def _by_credentials(self, scope: Scope, receive: Receive, send: Send, request: Request, host: Host) -> None:
        cookie = request.cookie(host.cookie)
        if request.bearer is not None:
            right = await self._judge(request, host, send, request.bearer)
        else:
            right = cookie is not None and _equal(cookie, self.pass_for(host))
            if not right:
                await signin.ask(send, request.from_browser)
        if right and request.path == LOGIN:
            await signin.redirect(send, "/")
        elif right:
            await self._pass(scope, receive, send, host, "owner")

    async def _judge(self, request: Request, host: Host, send: Send, token: str) -> bool:
        """Whether `token` is the owner's; where it is not, the answer is sent."""
        wait = self.limiter.wait(host.netloc)
        if wait:
            await signin.ask(send, request.from_browser, wait_s=wait)
            return False
        if _equal(token, self.token):
            self.limiter.right(host.netloc)
            return True
        self.limiter.wrong(host.netloc)
        await signin.ask(send, request.from_browser, wrong=True)
        return False

    async def _exchange(self, request: Request, host: Host, send: Send, token: str) -> None:
        """The token for a cookie; the token leaves the address bar."""
        if not await self._judge(request, host, send, token):
            return
        rest = urlencode([(key, value) for key, value in parse_qsl(request.query) if key != "token"])
        cookie = f"{host.cookie}={self.pass_for(host)}; HttpOnly; SameSite=Lax; Path=/; Max-Age={COOKIE_DAYS * 86400}"
        await signin.redirect(send, f"/?{rest}" if rest else "/", cookie=cookie + ("; Secure" if host.https else ""))

    def pass_for(self, host: Host) -> str:
        """The cookie's value: made from the token, so a restart keeps it, and good on one host name only."""
        return hmac.new(self.token.encode(), f"owner of {host.netloc}".encode(), hashlib.sha256).hexdigest()

    async def _pass(self, scope: Scope, receive: Receive, send: Send, host: Host, role: str) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _STEERING]
        if host.https:
            headers.append((b"x-forwarded-proto", b"https"))
        state = {**scope.get("state", {}), "role": role}
        passed = {**scope, "headers": headers, "scheme": "https" if host.https else "http", "state": state}
        await self.app(passed, receive, send)


def _plausible(host: Host, peer: tuple[str, int] | None) -> bool:
    """A loopback name comes from this machine: a stolen cookie of 127.0.0.1 is no use from elsewhere."""
    return not host.loopback or peer is None or peer[0].startswith("127.") or peer[0] in ("::1", "::ffff:127.0.0.1")


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode())


async def _form_token(receive: Receive) -> str:
    """The `token` field of a form; "" where there is none or the body is too long to be ours."""
    body, more = b"", True
    while more and len(body) <= FORM_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
    if len(body) > FORM_BYTES:
        return ""
    return parse_qs(body.decode("latin-1")).get("token", [""])[0].strip()


def _protected(send: Send) -> Send:
    """Adds the protective headers to every answer that does not bring its own."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            message["headers"] = headers + [pair for pair in _PROTECTION if pair[0] not in present]
        await send(message)

    return guarded
