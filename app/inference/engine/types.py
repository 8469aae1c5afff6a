"""What an engine takes and gives. Token ids alone: it knows no prompt and no protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from app.inference.errors import InferenceError
from app.inference.types import Delta, Finished, Queued, SamplingParams, Started


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The last event of a sequence that did not finish."""

    error: InferenceError


EngineEvent = Queued | Started | Delta | Finished | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """One prompt to go on from. Every accepted one ends in exactly one Finished or Failed, unless it is cancelled.

    `pixels` [pictures, 3, H, W]: one for each run of image tokens in `prompt_ids`, in their order.
    `scope`: whose keys and values it may go on from; of another scope it shall not even learn, by the time, that they
    are there.
    `sink` gets the events, from the thread that steps. It must not block.
    """

    id: str
    client: str
    scope: str = ""
    adapter: str | None = None  # None: the base alone
    prompt_ids: tuple[int, ...] = field(repr=False)
    pixels: Tensor | None = field(default=None, repr=False)
    sampling: SamplingParams
    stop: tuple[str, ...] = ()
    sink: Callable[[EngineEvent], None] = field(repr=False)

    @property
    def namespace(self) -> tuple[str | None, str]:
        """Keys and values are alike only under one adapter, and reused only within one scope."""
        return self.adapter, self.scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much an engine takes on at once."""

    max_running: int | None = None  # None: 64 on CUDA, whose steps wait for weights rather than for rows; 32 elsewhere
    max_waiting: int = 256
    # Of one forward pass: the longest that a running stream waits for another's prompt. None: 512 on CUDA, which fewer
    # do not keep busy; 192 elsewhere, where fewer cost next to nothing and first tokens come sooner.
    chunk_tokens: int | None = None
    kv_tokens: int = 16384  # keys and values of so many tokens are held, for all sequences and parked prefixes
    page_tokens: int = 16  # the arena is given out in pages of so many
    # Room is kept for so many tokens of an answer at a time, so that many answers fit which may become long and seldom
    # do. None: 128 on CUDA; elsewhere for the whole answer, in one run where there is one, which is faster there.
    growth_tokens: int | None = None
    quantum: int = 512  # tokens a client is served before it is the next one's turn
    reuse: bool = True  # keep the keys and values of what ended, for the next turn of its chat
    static: bool | None = None  # decode in buckets of fixed shapes; None: on CUDA, where graphs need them
    gather_tokens: int = 131072  # copied by each layer of a step of fixed shapes at most; `flat.AT_ONCE` at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """`kv_tokens_used` are kept for running sequences, what they share counted once; parked prefixes make room when it
    is needed. `running` counts those that are paused, too; `pauses`, how often one was since the beginning.
    """

    running: int
    waiting: int
    pauses: int
    kv_tokens: int
    kv_tokens_used: int
    kv_bytes: int
    generated_tokens: int
    prefilled_tokens: int
    reused_tokens: int
    steps: int
