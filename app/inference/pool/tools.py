"""What the pool is made with: how weights are loaded, an engine made and memory counted. Tests hand in others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app.inference.errors import InferenceError
from app.inference.loaded import LoadedModel
from app.inference.types import ModelCard

if TYPE_CHECKING:
    from app.inference import engine

OnProgress = Callable[[str, float], None]  # what is being done, and how much of it is: 0 to 1


class Stats(Protocol):
    """What the pool reads of an engine's figures."""

    @property
    def running(self) -> int: ...
    @property
    def pauses(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def kv_tokens(self) -> int: ...
    @property
    def kv_tokens_used(self) -> int: ...
    @property
    def kv_bytes(self) -> int: ...


class Engine(Protocol):
    """What the pool asks of an engine. `step` is called by one thread only; the rest by any."""

    @property
    def idle(self) -> bool: ...
    @property
    def stats(self) -> Stats: ...
    def submit(self, sequence: engine.Sequence) -> None: ...
    def cancel(self, sequence_id: str) -> None: ...
    def step(self) -> bool: ...
    def fail_all(self, error: InferenceError) -> None: ...
    def suspend(self) -> None: ...
    def resume(self) -> None:
        """Raises OutOfMemory, and is suspended still."""


class Ledger(Protocol):
    """Whose memory is whose. The seam for a pretend GPU."""

    def budget(self, held: int) -> int:
        """How many bytes of the device the core may hold in all, given that it holds `held` of them now."""

    def host_room(self) -> int:
        """How many bytes of host memory sleeping weights may take still."""

    def hold(self, held: int) -> None:
        """Tell the launched Spaces what the core holds now."""


class Parked(Protocol):
    """Weights in host memory."""

    @property
    def nbytes(self) -> int: ...
    def restore(self) -> None:
        """Back to the device. Raises OutOfMemory with nothing moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """All of them block; none is called from the asyncio loop. Each raises InferenceErrors only.

    `make_engine` is told how many bytes of KV cache the engine may have. `park` is None where the device's memory is
    the host's: there weights stay where they are, and only the KV cache is given back.
    """

    device: str  # cpu, cuda:0
    prepare: Callable[[], None]  # load the libraries; quick when it was done
    estimate: Callable[[Sequence[ModelCard]], int]  # bytes on the device
    load: Callable[[Sequence[ModelCard], OnProgress], LoadedModel]
    make_engine: Callable[[LoadedModel, int], Engine]
    park: Callable[[LoadedModel], Parked] | None
    release: Callable[[], None]  # give memory that was let go back to the device
    ledger: Ledger
