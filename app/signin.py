"""The answers of the gate itself: the sign-in page for people, JSON for programs. Knows no tokens."""

from __future__ import annotations

import json
import math

from starlette.types import Send

from app.inference.errors import InferenceError
from app.inference.server import failures

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in · Spaces Runner</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0; min-height: 100vh; display: grid; place-items: center; }}
main {{ width: min(30rem, 100vw - 3rem); }}
h1 {{ font-size: 1.4rem; }}
form {{ display: flex; gap: .5rem; flex-wrap: wrap; }}
label {{ flex-basis: 100%; font-weight: 600; }}
input {{ flex: 1; min-width: 12rem; }}
input, button {{ font: inherit; padding: .5rem .75rem; border-radius: .4rem; border: 1px solid #888; }}
button {{ background: #1d4ed8; border-color: #1d4ed8; color: #fff; cursor: pointer; }}
.error {{ border-left: 4px solid #dc2626; padding-left: .75rem; }}
.help {{ opacity: .8; font-size: .9rem; }}
</style></head><body><main>
<h1>Spaces Runner</h1>
{error}
<form method="post" action="/login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button>
</form>
<p class="help">Whoever signs in can run code on this machine, so the page asks for its token. The server printed it in
its link when it started (the part after <code>token=</code>).</p>
</main></body></html>
"""
# The form's own policy: with "no-referrer" a browser sends `Origin: null` and the gate could not tell it is ours.
_PAGE_HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"referrer-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
)


async def ask(send: Send, person: bool, *, wrong: bool = False, wait_s: float = 0.0) -> None:
    """Ask for the token: 401 with the sign-in page or JSON; 429 while wrong ones are waited out."""
    message = "Sign in with the token that the server printed when it started."
    if wrong:
        message = "That is not this server's token."
    if wait_s:
        message = f"Too many wrong tokens. Try again in {math.ceil(wait_s)} seconds."
    extra = ((b"retry-after", str(math.ceil(wait_s)).encode()),) if wait_s else ()
    if person:
        error = f'<p class="error" role="alert">{message}</p>' if wrong or wait_s else ""
        await _answer(send, 429 if wait_s else 401, _PAGE.format(error=error), (*_PAGE_HEADERS, *extra))
        return
    hint = "Send the header: Authorization: Bearer <token>"
    body = json.dumps({"error": message, "hint": hint})
    await _answer(
        send,
        429 if wait_s else 401,
        body,
        ((b"content-type", b"application/json"), (b"www-authenticate", b"Bearer"), *extra),
    )


async def refuse(send: Send, path: str, error: InferenceError) -> None:
    """What a program is told in the words of the protocol that is spoken at `path`."""
    response = failures.response(path, error)
    headers = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    await _answer(send, response.status_code, bytes(response.body).decode(), tuple(headers))


async def plain(send: Send, status: int, message: str) -> None:
    await _answer(send, status, message + "\n", ((b"content-type", b"text/plain; charset=utf-8"),))


async def redirect(send: Send, location: str, *, cookie: str | None = None) -> None:
    headers = [(b"location", location.encode("latin-1"))]
    if cookie is not None:
        headers.append((b"set-cookie", cookie.encode("latin-1")))
    await _answer(send, 303, "", tuple(headers))


async def _answer(send: Send, status: int, body: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    data = body.encode()
    framing = ((b"content-length", str(len(data)).encode()), (b"cache-control", b"no-store"))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *framing]})
    await send({"type": "http.response.body", "body": data})
