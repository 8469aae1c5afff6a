"""Who may do what: the gate every request passes before it reaches a page. Knows requests, nothing of Spaces.

Whoever may use the owner's page may run any code on this machine, so a request is nobody's until it proves otherwise:

* whoever has the link alone is a guest, and gets what `guests` allows: the models, to chat with. A private server has
  no guests;
* a key that the owner gave to a program opens what `programs` allows: the models, and no page;
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
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, parse_qsl, urlencode

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import guests, programs, signin
from app.hosts import Host, Hosts
from app.inference.errors import InferenceError
from app.limiter import Limiter
from app.playground.conversations import OWNER
from app.playground.errors import TooFast
from app.playground.rates import Rates
from app.programs import Programs

PUBLIC = frozenset({"/healthz"})  # what needs no credentials, on a private server neither
LOGIN = "/login"
STUDIO = "/studio/"  # the owner's page
PAGES = frozenset({"/", STUDIO, STUDIO.rstrip("/")})
COOKIE_DAYS = 30
FORM_BYTES = 4096
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
class Request:
    """What the gate reads of a scope. `headers` holds the last of each name; a second Host makes the request bad."""

    method: str
    path: str
    query: str
    headers: dict[bytes, str]
    hosts: int
    peer: tuple[str, int] | None
    ours: tuple[str, int] | None  # the address at which the peer called

    @classmethod
    def read(cls, scope: Scope) -> Request:
        pairs = scope["headers"]
        client, server = scope.get("client"), scope.get("server")
        return cls(
            method=scope["method"],
            path=scope["path"],
            query=scope.get("query_string", b"").decode("latin-1"),
            headers={name.lower(): value.decode("latin-1") for name, value in pairs},
            hosts=sum(name.lower() == b"host" for name, _ in pairs),
            peer=(client[0], client[1]) if client else None,
            ours=(server[0], server[1]) if server else None,
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
            and self.path in PAGES
            and self.headers.get(b"sec-fetch-mode", "navigate") == "navigate"
            and self.headers.get(b"sec-fetch-dest", "document") == "document"
            and b"origin" not in self.headers
        )


def _nobody_is_a_space(peer: tuple[str, int], ours: tuple[str, int]) -> bool:
    return False


@dataclass(slots=True)
class Gate:
    """The outermost ASGI application. `hosts` may grow while it serves; `is_space` tells a Space's own connections."""

    app: ASGIApp
    token: str = field(repr=False)
    hosts: Hosts
    private: bool = False  # no guests
    is_space: Callable[[tuple[str, int], tuple[str, int]], bool] = _nobody_is_a_space
    uploads: Rates = field(default_factory=guests.upload_rates)
    limiter: Limiter = field(default_factory=Limiter)
    programs: Programs = field(default_factory=Programs)

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
            await self._pass(scope, receive, send, host, {"role": "nobody"})
        elif request.peer is not None and request.ours is not None and self.is_space(request.peer, request.ours):
            await signin.plain(send, 403, "A Space may not use this server.")
        elif request.path == LOGIN and request.method == "POST":
            await self._exchange(request, host, send, await _form_token(receive))
        elif request.path in PAGES | {LOGIN} and request.method == "GET" and request.token is not None:
            await self._exchange(request, host, send, request.token)
        else:
            await self._by_credentials(scope, receive, send, request, host)

    async def _by_credentials(self, scope: Scope, receive: Receive, send: Send, request: Request, host: Host) -> None:
        cookie, bearer = request.cookie(host.cookie), request.bearer
        if bearer is not None and programs.is_key(bearer) and not _equal(bearer, self.token):
            await self._as_program(scope, receive, send, request, host)
        elif bearer is not None:
            if await self._judge(request, host, send, bearer):
                await self._as_owner(scope, receive, send, request, host)
        elif cookie is not None and _equal(cookie, self.pass_for(host)):
            await self._as_owner(scope, receive, send, request, host)
        elif not self.private and guests.may(request.method, request.path):
            await self._as_guest(scope, receive, send, request, host)
        else:
            await _ask(request, send)

    async def _as_program(self, scope: Scope, receive: Receive, send: Send, request: Request, host: Host) -> None:
        try:
            name = self.programs.admit(request.method, request.path, request.bearer or "")
        except InferenceError as error:
            await signin.refuse(send, request.path, error)
        else:
            await self._pass(scope, receive, send, host, {"role": "program", "user": name})

    async def _as_owner(self, scope: Scope, receive: Receive, send: Send, request: Request, host: Host) -> None:
        at_the_door = request.path in (LOGIN, STUDIO.rstrip("/")) or (request.path == "/" and request.from_browser)
        if at_the_door and request.method == "GET":
            await signin.redirect(send, f"{STUDIO}?{request.query}" if request.query else STUDIO)
        else:
            await self._pass(scope, receive, send, host, {"role": "owner", "user": OWNER})

    async def _as_guest(self, scope: Scope, receive: Receive, send: Send, request: Request, host: Host) -> None:
        """With the name that the browser's cookie stands for; a page that is opened gives one where there is none."""
        badge = request.cookie(guests.cookie(host))
        user = guests.user(badge)
        if guests.uploads(request.path) and (wait := self._upload_wait(user)):
            await signin.plain(send, 429, f"You are sending pictures too fast. Try again in {wait:.0f} s.")
            return
        if user is None and request.path == "/" and request.method == "GET":
            badge, header = guests.badge(host)
            user, send = guests.user(badge), _with_cookie(send, header)
        await self._pass(scope, receive, send, host, {"role": "guest", "user": user})

    def _upload_wait(self, user: str | None) -> float:
        """Seconds until this guest may send another file; 0.0 when now."""
        try:
            self.uploads.take(user or "")
        except TooFast as error:
            return max(1.0, error.retry_after)
        return 0.0

    async def _judge(self, request: Request, host: Host, send: Send, token: str) -> bool:
        """Whether `token` is the owner's; where it is not, the answer is sent."""
        wait = self.limiter.wait(host.netloc)
        if wait:
            await _ask(request, send, wait_s=wait)
            return False
        if _equal(token, self.token):
            self.limiter.right(host.netloc)
            return True
        self.limiter.wrong(host.netloc)
        await _ask(request, send, wrong=True)
        return False

    async def _exchange(self, request: Request, host: Host, send: Send, token: str) -> None:
        """The token for a cookie; the token leaves the address bar."""
        if not await self._judge(request, host, send, token):
            return
        rest = urlencode([(key, value) for key, value in parse_qsl(request.query) if key != "token"])
        cookie = host.cookie_header(host.cookie, self.pass_for(host), COOKIE_DAYS)
        await signin.redirect(send, f"{STUDIO}?{rest}" if rest else STUDIO, cookie=cookie)

    def pass_for(self, host: Host) -> str:
        """The cookie's value: made from the token, so a restart keeps it, and good on one host name only."""
        return hmac.new(self.token.encode(), f"owner of {host.netloc}".encode(), hashlib.sha256).hexdigest()

    async def _pass(self, scope: Scope, receive: Receive, send: Send, host: Host, who: dict[str, str | None]) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _STEERING]
        if host.https:
            headers.append((b"x-forwarded-proto", b"https"))
        state = {**scope.get("state", {}), **who}
        passed = {**scope, "headers": headers, "scheme": "https" if host.https else "http", "state": state}
        await self.app(passed, receive, send)


async def _ask(request: Request, send: Send, *, wrong: bool = False, wait_s: float = 0.0) -> None:
    """Ask for credentials, in the words that whoever asks understands."""
    if programs.of_core(request.path):
        await signin.refuse(send, request.path, programs.refusal(wrong=wrong, wait_s=wait_s))
    else:
        await signin.ask(send, request.from_browser, wrong=wrong, wait_s=wait_s)


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


def _with_cookie(send: Send, header: str) -> Send:
    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"set-cookie", header.encode("latin-1"))]
        await send(message)

    return adding
