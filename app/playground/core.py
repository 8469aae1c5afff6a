"""Finds the core, or has it started, when it is first needed; and what is known of it. Knows no conversations.

`find` may take as long as a process takes to start, so it runs in a thread and nobody waits for it twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from app.playground.client import CoreClient, Model
from app.playground.errors import CoreAway, PlaygroundError

FRESH_S = 3.0  # what is known of the models is not asked again for so long


class Phase(StrEnum):
    ASLEEP = "asleep"  # nobody needed it yet
    STARTING = "starting"
    READY = "ready"
    AWAY = "away"  # it could not be started, or it ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a core answers, and with which token."""

    url: str
    token: str = field(repr=False)


Find = Callable[[], Place]  # may block; raises PlaygroundError
Seek = Callable[[], Place | None]  # likewise, and starts nothing: None where no core runs


@dataclass(slots=True)
class Core:
    """Belongs to one event loop."""

    find: Find
    seek: Seek | None = None  # None: `find` starts nothing either
    clock: Callable[[], float] = time.monotonic
    phase: Phase = Phase.ASLEEP
    problem: str = ""  # why it is AWAY, and what to do
    models: tuple[Model, ...] = ()
    _client: CoreClient | None = None
    _clients: list[CoreClient] = field(default_factory=list)  # the earlier ones, too: streams may still use them
    _finding: asyncio.Task[CoreClient] | None = None
    _looking: asyncio.Task[None] | None = None
    _looked: float = float("-inf")

    async def client(self) -> CoreClient:
        """A client of the core, which is found or started if need be. Raises PlaygroundError."""
        if self._client is not None:
            return self._client
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._found())
        return await asyncio.shield(self._finding)

    async def present(self) -> CoreClient | None:
        """A client of the core that runs; None where none does. Raises PlaygroundError."""
        if self.seek is not None and await asyncio.to_thread(self.seek) is None:
            return None
        return await self.client()

    def model(self, name: str) -> Model | None:
        """What is known of a model; None while nothing is."""
        return next((model for model in self.models if model.name == name), None)

    def wake(self) -> None:
        """Begin to find it, or to look at it again where that was long ago. Returns at once."""
        idle = self._looking is None or self._looking.done()
        if idle and self.clock() - self._looked > FRESH_S:
            self._looking = asyncio.create_task(self.look())

    async def look(self) -> None:
        """Ask the core for its models. What goes wrong is told by `phase` and `problem`."""
        self._looked = self.clock()
        try:
            self.models = await (await self.client()).models()
        except PlaygroundError as error:
            self.lost(error)
        finally:
            self._looked = self.clock()

    def lost(self, error: PlaygroundError) -> None:
        """A call failed. One that found nobody there means that the core must be found anew."""
        if isinstance(error, CoreAway):
            self._client = None
            self.phase, self.problem = Phase.AWAY, error.sentence

    async def close(self) -> None:
        for task in (self._finding, self._looking):
            if task is not None:
                task.cancel()
        for client in self._clients:
            await client.close()

    async def _found(self) -> CoreClient:
        self.phase = Phase.STARTING
        try:
            place = await asyncio.to_thread(self.find)
        except PlaygroundError as error:
            self.phase, self.problem = Phase.AWAY, error.sentence
            raise
        self._client = CoreClient(place.url, place.token)
        self._clients.append(self._client)
        self.phase, self.problem = Phase.READY, ""
        return self._client
