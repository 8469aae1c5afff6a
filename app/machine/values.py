"""The nouns of a look at the machine. Frozen values; do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A process that uses a GPU. `size` is its memory there in bytes; None where the driver does not say."""

    pid: int
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU now. `load` is the share of time it computed, in [0, 1]; None where it cannot tell (MIG)."""

    index: int
    uuid: str
    name: str
    total: int  # bytes
    used: int
    load: float | None
    tasks: tuple[Task, ...] = ()

    @property
    def free(self) -> int:
        return max(0, self.total - self.used)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process: its parent, its memory in bytes, and the processor seconds it has used since it began."""

    parent: int
    memory: int
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The machine at one moment. `cpu` is the share of all processors at work since the reading before, in [0, 1]."""

    at: float  # seconds since the epoch
    cpu: float
    cpus: int
    memory_total: int  # bytes
    memory_used: int
    cards: tuple[Card, ...] = ()
    processes: Mapping[int, Process] = field(default_factory=dict, repr=False)

    @property
    def memory_free(self) -> int:
        return max(0, self.memory_total - self.memory_used)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a family of processes takes. `cpu` counts processors: 1.5 is one and a half. `gpu` None: no GPU is used."""

    cpu: float
    memory: int  # bytes, what is shared counted once for each process
    gpu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a plot needs of a reading: shares in [0, 1]. `load` None: unknown then."""

    at: float
    memory: float
    load: float | None
