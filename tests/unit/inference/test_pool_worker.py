"""Turns between engines, and the thread that gives them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.engine import Failed
from app.inference.engine import Sequence as EngineSequence
from app.inference.errors import GenerationFailed, InferenceError
from app.inference.pool.tools import Engine
from app.inference.pool.worker import Rotation, Worker
from app.inference.types import SamplingParams
from tests.support.inference_core import ScriptedEngine
from tests.support.inference_server import until

Broken = list[tuple[Engine, Exception]]


@pytest.fixture
def broken() -> Broken:
    return []


@pytest.fixture
def worker(broken: Broken) -> Iterator[Worker]:
    made = Worker(lambda engine, error: broken.append((engine, error)))
    made.start()
    yield made
    made.stop(5)


def sequence(name: str, sink: list[object], tokens: int = 5) -> EngineSequence:
    return EngineSequence(
        id=name, client="tests", prompt_ids=(1, 2), sampling=SamplingParams(max_tokens=tokens), sink=sink.append
    )


@given(st.lists(st.integers(1, 600), min_size=2, max_size=5), st.integers(50, 300))
def test_engines_at_work_get_the_same_time(costs: list[int], turns: int) -> None:
    """However long a turn of each takes: they are never further apart than one turn of the slowest."""
    rotation: Rotation[int] = Rotation()
    engines = list(range(len(costs)))
    served = Counter(dict.fromkeys(engines, 0))
    for _ in range(turns):
        chosen = rotation.next(engines)
        served[chosen] += costs[chosen]
        rotation.charge(chosen, costs[chosen])
    assert max(served.values()) - min(served.values()) <= max(costs)


def test_a_rest_is_no_credit() -> None:
    rotation: Rotation[str] = Rotation()
    for _ in range(100):
        rotation.charge(rotation.next(["a"]), 10)
    chosen = []
    for _ in range(10):
        chosen.append(rotation.next(["a", "b"]))
        rotation.charge(chosen[-1], 10)
    assert Counter(chosen) == {"a": 5, "b": 5}


def test_one_that_rested_does_not_pay_for_what_others_did_not() -> None:
    rotation: Rotation[str] = Rotation()
    for _ in range(100):
        rotation.charge(rotation.next(["a"]), 10)
    for _ in range(3):
        rotation.charge(rotation.next(["b"]), 10)
    assert [rotation.next(["a", "b"]) for _ in range(1)] == ["a"]


@dataclass
class Clock:
    """Stands still but for what engines say they take. `turns`: whose they were."""

    now: float = 0.0
    turns: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now


@dataclass(eq=False)
class Timed(ScriptedEngine):
    """Each of its steps takes `seconds` of `clock`, with one sequence or with many."""

    clock: Clock = field(default_factory=Clock)
    name: str = ""
    seconds: float = 0.0

    def step(self) -> bool:
        self.clock.turns.append(self.name)
        self.clock.now += self.seconds
        return super().step()


@pytest.mark.parametrize(("seconds", "turns"), [(1.0, {"full": 20, "single": 20}), (3.0, {"full": 10, "single": 30})])
def test_a_full_batch_pays_for_its_time_and_not_for_its_tokens(seconds: float, turns: dict[str, int]) -> None:
    clock = Clock()
    full, single = Timed(clock=clock, name="full", seconds=seconds), Timed(clock=clock, name="single", seconds=1.0)
    for number in range(20):
        full.submit(sequence(str(number), [], tokens=60))
    single.submit(sequence("one", [], tokens=60))
    worker = Worker(lambda _engine, _error: None, clock)
    worker.add(full)
    worker.add(single)
    worker.start()
    try:
        until(lambda: full.idle and single.idle)
    finally:
        worker.stop(5)
    assert Counter(clock.turns[:40]) == turns


def test_one_that_cannot_go_on_yet_holds_no_other_up() -> None:
    """It takes no time, and so is charged nothing: by what they were charged alone, it would have every turn."""
    clock = Clock()
    stuck, other = Timed(clock=clock, name="stuck"), Timed(clock=clock, name="other", seconds=1.0)
    stuck.gate.clear()
    for engine in (stuck, other):
        engine.submit(sequence("one", [], tokens=60))
    worker = Worker(lambda _engine, _error: None, clock)
    worker.add(stuck)
    worker.add(other)
    worker.start()
    try:
        until(lambda: other.idle)
        assert not stuck.idle
        stuck.gate.set()
        until(lambda: stuck.idle)
    finally:
        worker.stop(5)
    assert Counter(clock.turns)["other"] == 60


def test_it_sleeps_until_there_is_work(worker: Worker) -> None:
    engine = ScriptedEngine()
    worker.add(engine)
    time.sleep(0.05)
    assert not engine.steppers, "an idle engine is not stepped"
    sink: list[object] = []
    engine.submit(sequence("one", sink))
    worker.wake()
    until(lambda: engine.idle)
    assert len(sink) == 1 + 1 + 5 + 1


def test_engines_that_cannot_go_on_yet_are_asked_again_without_a_rush(worker: Worker) -> None:
    engine, sink = ScriptedEngine(), list[object]()
    engine.gate.clear()
    worker.add(engine)
    engine.submit(sequence("one", sink))
    worker.wake()
    begun = time.thread_time_ns(), time.process_time()
    time.sleep(0.3)
    assert time.process_time() - begun[1] < 0.2, "waiting takes no processor"
    engine.gate.set()
    until(lambda: engine.idle)


def test_remove_returns_when_no_step_is_going_on(worker: Worker) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(ScriptedEngine):
        def step(self) -> bool:
            inside.set()
            go_on.wait(5)
            return super().step()

    engine, sink = Slow(), list[object]()
    worker.add(engine)
    engine.submit(sequence("one", sink, tokens=50))
    worker.wake()
    assert inside.wait(5)
    removing = threading.Thread(target=worker.remove, args=(engine,))
    removing.start()
    removing.join(0.1)
    assert removing.is_alive()
    go_on.set()
    removing.join(5)
    assert not removing.is_alive()
    seen = len(sink)
    time.sleep(0.05)
    assert len(sink) == seen


def test_a_broken_engine_fails_its_own_and_is_left_alone(worker: Worker, broken: Broken) -> None:
    bad, good = ScriptedEngine(broken=RuntimeError("lost")), ScriptedEngine()
    of_bad, of_good = list[object](), list[object]()
    for engine, sink in ((bad, of_bad), (good, of_good)):
        worker.add(engine)
        engine.submit(sequence("one", sink))
    worker.wake()
    until(lambda: good.idle and broken)
    assert [(engine, str(error)) for engine, error in broken] == [(bad, "lost")]
    last = of_bad[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, GenerationFailed)
    assert len(of_good) == 8


def test_errands_are_done_by_the_thread_that_steps(worker: Worker) -> None:
    engine, sink, errands = ScriptedEngine(), list[object](), list[int]()
    worker.add(engine)
    engine.submit(sequence("one", sink))
    worker.wake()
    worker.do(engine, lambda: errands.append(threading.get_ident()))
    until(lambda: errands and engine.idle)
    assert set(errands) == engine.steppers


def test_an_errand_that_fails_ends_its_engine_alone(worker: Worker, broken: Broken) -> None:
    bad, good = ScriptedEngine(), ScriptedEngine()
    bad.gate.clear()
    of_bad, of_good = list[object](), list[object]()
    for engine, sink in ((bad, of_bad), (good, of_good)):
        worker.add(engine)
        engine.submit(sequence("one", sink))
    worker.wake()
    until(lambda: good.idle and bad.steppers)

    def errand() -> None:
        raise RuntimeError("lost")

    worker.do(bad, errand)
    until(lambda: broken)
    assert [(engine, str(error)) for engine, error in broken] == [(bad, "lost")]
    assert isinstance(of_bad[-1], Failed)
    good.submit(sequence("two", of_good))
    worker.wake()
    until(lambda: good.idle)
    assert len(of_good) == 16


def test_an_engine_that_cannot_even_end_its_requests_is_told_of(worker: Worker, broken: Broken) -> None:
    class Dead(ScriptedEngine):
        def fail_all(self, error: InferenceError) -> None:
            raise RuntimeError("dead")

    dead, good, of_good = Dead(broken=RuntimeError("lost")), ScriptedEngine(), list[object]()
    for engine, sink in ((dead, list[object]()), (good, of_good)):
        worker.add(engine)
        engine.submit(sequence("one", sink))
    worker.wake()
    until(lambda: good.idle and broken)
    assert [(engine, str(error)) for engine, error in broken] == [(dead, "lost")]
    assert len(of_good) == 8


def test_an_engine_that_was_removed_is_left_alone(broken: Broken) -> None:
    gone, other, done = ScriptedEngine(), ScriptedEngine(), list[str]()
    worker = Worker(lambda engine, error: broken.append((engine, error)))
    worker.do(gone, lambda: done.append("gone"))
    worker.do(other, lambda: done.append("other"))
    worker.remove(gone)
    worker.start()
    until(lambda: bool(done))
    worker.stop(5)
    assert done == ["other"]
