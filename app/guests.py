"""What somebody who has the link alone may ask for, and by which name he is known. Knows no tokens and no models.

A guest's page is a Blocks of its own that holds nothing of the runner, so what it needs is a short list, and everything
else is closed. The name is made from a random cookie: whoever reads the names cannot act as the guest.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from app.hosts import Host
from app.playground.rates import Rate, Rates

DAYS = 30
_BADGE = re.compile(r"[A-Za-z0-9_-]{43}")
UPLOAD = "/gradio_api/upload"
_READ = re.compile(
    r"/(|config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|(static|assets|svelte)/.+"
    r"|conversations/[0-9a-f]{32}\.(json|md)"
    r"|gradio_api/(info|startup-events|app_id|theme\.css|upload_progress|queue/data|heartbeat/[a-z0-9]+"
    r"|call/chat/[0-9a-f]+|file=/.+))"
)
_WRITE = re.compile(r"/gradio_api/(queue/join|run/predict|cancel|reset|upload|call/chat)/?")


def may(method: str, path: str) -> bool:
    """Whether a guest's page, or a guest's program, needs this."""
    allowed = {"GET": _READ, "HEAD": _READ, "POST": _WRITE}.get(method)
    return allowed is not None and allowed.fullmatch(path) is not None


def uploads(path: str) -> bool:
    return path.rstrip("/") == UPLOAD


def upload_rates() -> Rates:
    return Rates(each=Rate(burst=8, per_minute=12), together=Rate(burst=40, per_minute=60))


def cookie(host: Host) -> str:
    return f"{host.cookie}-guest"


def badge(host: Host) -> tuple[str, str]:
    """A new guest's cookie: its value, and the header that sets it."""
    value = secrets.token_urlsafe(32)
    return value, host.cookie_header(cookie(host), value, DAYS)


def user(value: str | None) -> str | None:
    """The name of the guest with this cookie; None for one without, or with what was never given."""
    if value is None or not _BADGE.fullmatch(value):
        return None
    return f"guest-{hashlib.sha256(value.encode()).hexdigest()[:32]}"
