"""What an engine elsewhere says, before it is told as events of ours. Does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from app.inference.types import FinishReason, Loading, Queued, Started, Token

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some text, and the tokens that made it."""

    text: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the engine counted. None where it did not say."""

    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    reused_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    reason: FinishReason
    counts: Counts
    stop: str | None = None


Heard = Loading | Queued | Started | Piece | Ended


class Speech(Protocol):
    """One request in the words of one protocol."""

    @property
    def url(self) -> str: ...

    @property
    def body(self) -> Json: ...

    def hear(self, data: str) -> Iterator[Heard]:
        """What the data of one Server-Sent Event says. Raises InferenceError, ValueError for what is not understood."""
