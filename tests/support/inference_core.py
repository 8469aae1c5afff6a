"""A pool over scripted engines and a pretend device, and the real core in a process of its own."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import torch

from app.inference.engine import EngineStats, Failed
from app.inference.engine import Sequence as EngineSequence
from app.inference.errors import InferenceError
from app.inference.loaded import LoadedModel
from app.inference.pool import Tools
from app.inference.pool.tools import OnProgress
from app.inference.types import (
    Delta,
    Family,
    Finished,
    FinishReason,
    GenerateRequest,
    ModelCard,
    Precision,
    Prompt,
    Queued,
    SamplingParams,
    Started,
    Token,
    Usage,
)

MIB = 1024**2
WEIGHTS, KV = 4096 * MIB, 2048 * MIB  # bytes of every scripted model, as it pretends


def make_card(name: str, **changes: object) -> ModelCard:
    plain = ModelCard(
        name=name,
        title=name.title(),
        family=Family.LLAMA,
        weights=f"weights-of-{name}",
        precision=Precision.FP32,
        prompt="mpt-storywriter",
        context=64,
        defaults=SamplingParams(max_tokens=8),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # the fields of a card by name


def make_request(model: str, text: str = "abc", **changes: object) -> GenerateRequest:
    plain = GenerateRequest(
        id=f"{model}-{time.monotonic_ns()}",
        client="tests",
        model=model,
        prompt=Prompt(text=text),
        sampling=SamplingParams(max_tokens=4, temperature=0.0),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # the fields of a request by name


class Letters:
    """A tokenizer whose tokens are characters."""

    bos_token_id = 1

    def encode(self, text: str, add_special_tokens: bool, verbose: bool) -> list[int]:
        assert not add_special_tokens, "the pool decides what a prompt begins with"
        assert not verbose, "the pool looks after the length"
        return [ord(character) for character in text]


@dataclass(eq=False)
class ScriptedEngine:
    """Answers every sequence with "x" until its `max_tokens`, a token for all of them in each step.

    While `gate` is closed no step does anything. `broken`: what the next step raises. As with the engine, what was
    cancelled is cleared up by the next step or `suspend`, and until then it is not idle.
    """

    kv_bytes: int = KV
    gate: threading.Event = field(default_factory=threading.Event)
    broken: Exception | None = None
    running: dict[str, tuple[EngineSequence, int]] = field(default_factory=dict)
    seen: list[EngineSequence] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    uncleared: set[str] = field(default_factory=set)
    generated: int = 0
    awake: bool = True
    steppers: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def idle(self) -> bool:
        return not self.running and not self.uncleared

    @property
    def stats(self) -> EngineStats:
        return EngineStats(
            running=len(self.running),
            waiting=0,
            pauses=0,
            kv_tokens=64,
            kv_tokens_used=len(self.running),
            kv_bytes=self.kv_bytes if self.awake else 0,
            generated_tokens=self.generated,
            prefilled_tokens=0,
            reused_tokens=0,
            steps=0,
        )

    def submit(self, sequence: EngineSequence) -> None:
        assert self.awake, "an engine that sleeps takes no sequences"
        with self.lock:
            self.seen.append(sequence)
            self.running[sequence.id] = (sequence, 0)
        sequence.sink(Queued(position=0))

    def cancel(self, sequence_id: str) -> None:
        with self.lock:
            self.cancelled.append(sequence_id)
            if self.running.pop(sequence_id, None) is not None:
                self.uncleared.add(sequence_id)

    def step(self) -> bool:
        assert self.awake, "an engine that sleeps is not stepped"
        self.steppers.add(threading.get_ident())
        with self.lock:
            self.uncleared.clear()
        if not self.gate.is_set():
            return False
        if self.broken is not None:
            raise self.broken
        with self.lock:
            for sequence, done in list(self.running.values()):
                self._advance(sequence, done)
        return True

    def _advance(self, sequence: EngineSequence, done: int) -> None:
        if done == 0:
            sequence.sink(Started(prompt_tokens=len(sequence.prompt_ids), reused_tokens=0, seed=7))
        sequence.sink(Delta(text="x", tokens=(Token(id=120, text="x", logprob=-0.1, special=False),)))
        self.generated += 1
        self.running[sequence.id] = (sequence, done + 1)
        if done + 1 >= sequence.sampling.max_tokens:
            del self.running[sequence.id]
            usage = Usage(prompt_tokens=len(sequence.prompt_ids), generated_tokens=done + 1)
            sequence.sink(Finished(reason=FinishReason.LENGTH, usage=usage))

    def fail_all(self, error: InferenceError) -> None:
        assert self.broken or threading.get_ident() in self.steppers, "while others step, only their thread may"
        with self.lock:
            left, self.running = self.running, {}
        for sequence, _ in left.values():
            sequence.sink(Failed(error=error))

    def suspend(self) -> None:
        self.uncleared.clear()
        assert self.idle, "only an idle engine is suspended"
        self.awake = False

    def resume(self) -> None:
        self.awake = True


@dataclass
class PretendDevice:
    """Memory that `Ledger` counts: `total` of the device, `host` for weights that sleep. `others` hold some of it."""

    total: int = 10 * (WEIGHTS + KV)
    host: int = 10 * WEIGHTS
    others: int = 0
    told: list[int] = field(default_factory=list)
    heard: Callable[[int], None] = lambda _held: None  # called with what it is told
    parked: weakref.WeakSet[PretendParked] = field(default_factory=weakref.WeakSet)

    def budget(self, held: int) -> int:
        return self.total - self.others

    def host_room(self) -> int:
        return self.host - sum(parked.nbytes for parked in self.parked)

    def hold(self, held: int) -> None:
        self.told.append(held)
        self.heard(held)


@dataclass(eq=False)
class PretendParked:
    """Takes room of the host while anybody refers to it."""

    device: PretendDevice
    nbytes: int = WEIGHTS

    def __post_init__(self) -> None:
        self.device.parked.add(self)

    def restore(self) -> None:
        self.device.parked.discard(self)


@dataclass
class Workshop:
    """Makes the tools of a pool, and remembers what they were used for. `loading` is open unless a test closes it."""

    device: PretendDevice = field(default_factory=PretendDevice)
    loads: list[tuple[str, ...]] = field(default_factory=list)
    engines: dict[str, ScriptedEngine] = field(default_factory=dict)
    failing: dict[str, InferenceError | Exception] = field(default_factory=dict)
    loading: threading.Event = field(default_factory=threading.Event)
    own_memory: bool = True  # as a GPU has
    prepare: Callable[[str, ScriptedEngine], None] = lambda _name, _engine: None
    estimate: Callable[[Sequence[ModelCard]], int] = lambda _cards: WEIGHTS

    def __post_init__(self) -> None:
        self.loading.set()

    def tools(self) -> Tools:
        return Tools(
            device="pretend:0",
            prepare=lambda: None,
            estimate=self.estimate,
            load=self.load,
            make_engine=self.make_engine,
            park=self.park if self.own_memory else None,
            release=lambda: None,
            ledger=self.device,
        )

    def load(self, cards: Sequence[ModelCard], on_progress: OnProgress) -> LoadedModel:
        name = cards[0].name
        self.loads.append(tuple(card.name for card in cards))
        on_progress("reading weights", 0.5)
        deadline = time.monotonic() + 20
        while not self.loading.wait(0.01):
            assert time.monotonic() < deadline, "nobody opened the gate of loading"
            on_progress("reading weights", 0.5)
        if error := self.failing.get(name):
            raise error
        return LoadedModel(
            family=cards[0].family,
            model=cast(Any, SimpleNamespace(name=name)),
            tokenizer=cast(Any, Letters()),
            precision=Precision.FP32,
            dtype=torch.float32,
            device=torch.device("cpu"),
            context=cards[0].context,
            eos_ids=frozenset(),
            nbytes=WEIGHTS,
        )

    def make_engine(self, loaded: LoadedModel, kv_bytes: int) -> ScriptedEngine:
        name = cast(Any, loaded.model).name
        engine = self.engines[name] = ScriptedEngine(kv_bytes=min(kv_bytes, KV))
        self.prepare(name, engine)
        return engine

    def park(self, loaded: LoadedModel) -> PretendParked:
        return PretendParked(self.device)
