"""The seam between protocols and models: what the server asks of whatever serves. Knows neither torch nor HTTP.

`pool.Pool` serves models of this machine and dispatches to engines elsewhere; a test may serve a script.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from app.inference.types import Event, GenerateRequest, ModelCard, ModelStatus


class Service(Protocol):
    """Models by name. Every method may be called from one asyncio loop at any time."""

    def cards(self) -> tuple[ModelCard, ...]:
        """Every model on offer, in the order of the catalogue."""

    def status(self) -> tuple[ModelStatus, ...]:
        """What each of them takes up now, in the same order. Cheap: no lock is waited for."""

    def generate(self, request: GenerateRequest) -> AsyncIterator[Event]:
        """The events of one request: at most some Loading, one Queued or more with falling positions, one Started,
        Deltas, one Finished. An error is raised as an InferenceError, before or between events. Closing the iterator
        cancels the request within one step of the engine.
        """

    async def count_tokens(self, model: str, text: str) -> tuple[int, ...]:
        """The token ids of `text` as the model's tokenizer has them, special tokens included.

        Raises UnknownModel, ModelUnavailable, Overloaded, and NotSupported for a model that is served elsewhere.
        """

    async def load(self, model: str) -> None:
        """Make a model resident. Returns when it is. Raises ModelUnavailable, UnknownModel."""

    async def sleep(self, model: str) -> None:
        """Move an idle model's weights to host memory. One that is in use is waited for."""

    async def unload(self, model: str) -> None:
        """Let a model go. One that is in use is waited for; others' requests queue behind."""
