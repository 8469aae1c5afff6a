"""One base model with all that stands over it, as the pool knows it. Changed in the asyncio loop alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.inference.errors import InferenceError
from app.inference.loaded import LoadedModel
from app.inference.pool.channel import Channel
from app.inference.pool.tools import Engine, Parked
from app.inference.types import ModelCard, ModelStatus, Residency


@dataclass(slots=True, kw_only=True, eq=False)
class Seat:
    """`cards` share a base: it is there once for all of them.

    `inside`: requests that run in its engine or are about to. `line`: those that wait for it to be resident,
    in the order they came.
    `leaving`: how many are about to move it; meanwhile nobody may go in. `channels`: of the requests inside.
    `kv_bytes`, `kv_tokens`: of its engine when awake.
    `promised`: what it is about to take up in all, from before it does until it is there.
    """

    cards: tuple[ModelCard, ...]
    used_at: float
    state: Residency = Residency.ABSENT
    loaded: LoadedModel | None = None
    engine: Engine | None = None
    parked: Parked | None = None
    inside: int = 0
    line: list[object] = field(default_factory=list)
    leaving: int = 0
    channels: set[Channel] = field(default_factory=set)
    promised: int = 0
    weight_bytes: int = 0
    kv_bytes: int = 0
    kv_tokens: int = 0
    doing: str = ""
    fraction: float = 0.0
    error: InferenceError | None = None

    @property
    def open(self) -> bool:
        return self.state is Residency.RESIDENT and not self.leaving

    @property
    def outside(self) -> int:
        return len(self.line)

    @property
    def unused(self) -> bool:
        return not self.inside and not self.outside

    @property
    def taken(self) -> int:
        """What it takes up on the device now."""
        kv_bytes = self.kv_bytes if self.state is Residency.RESIDENT else 0
        return (0 if self.parked else self.weight_bytes) + kv_bytes

    @property
    def nbytes(self) -> int:
        """What is its own: what it was promised, else what it takes up."""
        return self.promised or self.taken

    @property
    def title(self) -> str:
        return " and ".join(card.title for card in self.cards)

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Let nobody in."""
        self.leaving += 1
        try:
            yield
        finally:
            self.leaving -= 1

    def begin(self, doing: str) -> None:
        """It is on its way."""
        self.state, self.error, self.doing, self.fraction = Residency.LOADING, None, doing, 0.0

    def arrive(self) -> None:
        """It is there."""
        self.state, self.doing, self.fraction, self.promised = Residency.RESIDENT, "", 1.0, 0

    def clear(self, state: Residency = Residency.ABSENT, error: InferenceError | None = None) -> None:
        """Let go of everything."""
        self.loaded = self.engine = self.parked = None
        self.weight_bytes = self.kv_bytes = self.kv_tokens = self.promised = 0
        self.state, self.error = state, error
        self.doing, self.fraction = "", 0.0

    def status(self, card: ModelCard, device: str) -> ModelStatus:
        """What `card`, one of ours, takes up. Weights that sleep are counted where they are: in the host's memory."""
        stats = self.engine.stats if self.engine and self.state is Residency.RESIDENT else None
        return ModelStatus(
            card=card,
            residency=self.state,
            device=("cpu" if self.parked else device) if self.weight_bytes else "",
            promised_bytes=self.promised,
            weight_bytes=self.weight_bytes,
            kv_bytes=self.kv_bytes if stats else 0,
            kv_tokens=stats.kv_tokens if stats else 0,
            kv_tokens_awake=self.kv_tokens,
            kv_tokens_used=stats.kv_tokens_used if stats else 0,
            running=stats.running if stats else 0,
            pauses=stats.pauses if stats else 0,
            waiting=(stats.waiting if stats else 0) + self.outside,
            fraction=self.fraction,
            error=self.error.sentence if self.error else "",
        )
