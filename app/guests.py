"""What somebody who has the link alone may ask for, and by which name he is known. Knows no tokens and no models.

A guest's page is a Blocks of its own that holds nothing of the runner, so what it needs is a short list, and everything
else is closed. The name is made from a random cookie: whoever reads the names cannot act as the guest.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from app.hosts import Host
from app.playground.errors import TooFast
from app.playground.playground import GUEST_RATE
from app.playground.rates import Rate, Rates

DAYS = 30
ANSWERS, MESSAGES = 16, 120  # of all guests together, unless the owner says otherwise
AGAIN_S = 10.0  # an answer may end sooner or later; nobody knows
_BADGE = re.compile(r"[A-Za-z0-9_-]{43}")
UPLOAD = "/gradio_api/upload"
_READ = re.compile(
    r"/(|config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|(static|assets|svelte)/.+"
    r"|conversations/[0-9a-f]{32}\.(json|md)"
    r"|gradio_api/(info|startup-events|app_id|theme\.css|upload_progress|queue/data|heartbeat/[a-z0-9]+"
    r"|call/chat/[0-9a-f]+|file=/.+))"
)
_WRITE = re.compile(r"/gradio_api/(queue/join|run/predict|cancel|reset|upload|call/chat)/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestLimits:
    """What all guests get together: `answers` under way at once, and `messages` a minute."""

    answers: int = ANSWERS
    messages: int = MESSAGES


def _nobody() -> int:
    return 0


@dataclass(slots=True)
class Crowd(Rates):
    """Beside the rates: no more than `most` answers at once. `busy`: how many are being written for guests now.

    A name costs a guest nothing, so what each may have at once protects nobody: many names of one link could.
    """

    most: int = ANSWERS
    busy: Callable[[], int] = field(default=_nobody)

    def take(self, guest: str) -> None:
        """Raises TooFast, and counts nothing, where too many are being answered or `guest` comes too soon."""
        if self.busy() >= self.most:
            raise TooFast("The models answer as many guests already as may be answered at once.", retry_after=AGAIN_S)
        Rates.take(self, guest)


def crowd(limits: GuestLimits, busy: Callable[[], int]) -> Crowd:
    """Half of a minute's messages may come at once."""
    together = Rate(burst=max(1, limits.messages // 2), per_minute=limits.messages)
    return Crowd(each=GUEST_RATE, together=together, most=limits.answers, busy=busy)


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
