"""What every route needs: the service, who calls, what is counted, what a request may hold. Knows no protocol."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi.security import HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from starlette.requests import Request

from app.inference.errors import Forbidden, Unauthorized, UnknownModel
from app.inference.server.keys import Caller, Keys
from app.inference.server.metrics import Metrics
from app.inference.service import Service
from app.inference.types import Event, GenerateRequest, ModelCard, ModelStatus, Prompt, SamplingParams

BEARER = HTTPBearer(auto_error=False, description="The token of a caller.")  # for the description of the API
MAX_CLIENT_CHARS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a caller may take of the server. Beyond `requests` at once: 429."""

    body_bytes: int = 32 * 2**20
    requests: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    service: Service
    keys: Keys
    bounds: Bounds
    metrics: Metrics
    begun: int = field(default_factory=lambda: int(time.time()))  # Unix seconds

    def caller(self, request: Request) -> Caller:
        """Raises Unauthorized, KeysUnreadable."""
        scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("This needs a token.", hint="Send it as a header: Authorization: Bearer TOKEN.")
        found = self.keys.find(token)
        if found is None:
            raise Unauthorized("This token opens nothing here.", hint="It may have been revoked, or be another core's.")
        return found

    def manager(self, request: Request) -> Caller:
        """A caller who may manage. Raises Unauthorized, Forbidden."""
        caller = self.caller(request)
        if not caller.may_manage:
            raise Forbidden(f"The key of {caller.name} may use models, not manage them.")
        return caller

    def client(self, request: Request) -> str:
        """Whom fair queueing counts the request for: the caller, or the person a trusted caller asks for."""
        caller = self.caller(request)
        person = request.headers.get("x-client", "")[:MAX_CLIENT_CHARS]
        return f"{caller.name}/{person}" if person and caller.may_name_clients else caller.name

    def card(self, name: str) -> ModelCard:
        """Raises UnknownModel."""
        cards = {card.name: card for card in self.service.cards()}
        if name not in cards:
            raise UnknownModel(name, cards)
        return cards[name]

    def status(self, name: str) -> ModelStatus:
        """Raises UnknownModel."""
        self.card(name)
        return next(status for status in self.service.status() if status.card.name == name)

    def begin(
        self, client: str, card: ModelCard, prompt: Prompt, sampling: SamplingParams, truncate: int | None = None
    ) -> AsyncIterator[Event]:
        """The events of a new request."""
        request = GenerateRequest(
            id=uuid.uuid4().hex,
            client=client,
            model=card.name,
            prompt=prompt,
            sampling=sampling,
            truncate=truncate,
        )
        return self.service.generate(request)
