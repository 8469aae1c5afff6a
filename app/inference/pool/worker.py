"""The one thread that steps every engine: fair by time between them, asleep while none has work. Knows no model."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from app.inference.errors import GenerationFailed, InferenceError
from app.inference.pool.tools import Engine

STALL_S = 0.01  # between two tries of engines that have work and cannot do it yet

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


class Rotation(Generic[_T]):
    """Whose turn it is: of those at work the one that was charged least.

    One that comes back to work begins level with the least charged: a rest is no credit.
    """

    def __init__(self) -> None:
        self._charged: dict[_T, float] = {}
        self._at_work: frozenset[_T] = frozenset()

    def next(self, at_work: Sequence[_T]) -> _T:
        """Of `at_work`, which is not empty."""
        stayed = [self._charged[one] for one in at_work if one in self._at_work]
        level = min(stayed, default=max(self._charged.values(), default=0.0))
        for one in at_work:
            if one not in self._at_work:
                self._charged[one] = max(self._charged.get(one, 0.0), level)
        self._at_work = frozenset(at_work)
        return min(at_work, key=lambda one: self._charged[one])

    def charge(self, one: _T, seconds: float) -> None:
        """Of the device, which its turn took."""
        self._charged[one] += seconds

    def forget(self, one: _T) -> None:
        self._charged.pop(one, None)
        self._at_work -= {one}


class Worker:
    """Started by `start`. `on_broken` hears, in this thread, of an engine that failed as a whole, and is left alone.

    `clock` tells seconds: what a turn takes is what it is charged, whether it makes one token or a batch of them.
    """

    def __init__(
        self, on_broken: Callable[[Engine, Exception], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_broken = on_broken
        self._clock = clock
        self._engines: list[Engine] = []
        self._errands: deque[tuple[Engine, Callable[[], None]]] = deque()
        self._rotation: Rotation[Engine] = Rotation()
        self._changed = threading.Condition()
        self._stepping: Engine | None = None
        self._stalled: set[Engine] = set()  # with work, and not able to do it when they were last asked
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engines", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, engine: Engine) -> None:
        with self._changed:
            self._engines.append(engine)
            self._changed.notify_all()

    def remove(self, engine: Engine) -> None:
        """Step it no more. Returns when no step of it is going on."""
        with self._changed:
            self._forget(engine)
            self._changed.wait_for(lambda: self._stepping is not engine)

    def do(self, engine: Engine, errand: Callable[[], None]) -> None:
        """Do something to an engine soon, in the thread that steps: for what must not happen during a step."""
        with self._changed:
            self._errands.append((engine, errand))
            self._changed.notify_all()

    def wake(self) -> None:
        """There may be work."""
        with self._changed:
            self._stalled.clear()
            self._changed.notify_all()

    def stop(self, timeout: float) -> None:
        """End the thread after the step it is in, and wait for that at most `timeout` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while (turn := self._next()) is not None:
            engine, errand = turn
            if errand is None:
                self._step(engine)
            else:
                self._guarded(engine, errand)
            with self._changed:
                self._stepping = None
                self._changed.notify_all()

    def _next(self) -> tuple[Engine, Callable[[], None] | None] | None:
        """Wait for an errand, or for an engine with work; None to end."""
        with self._changed:
            while not self._stopping:
                if self._errands:
                    engine, errand = self._errands.popleft()
                    self._stepping = engine
                    return engine, errand
                at_work = [engine for engine in self._engines if not engine.idle]
                if able := [engine for engine in at_work if engine not in self._stalled]:
                    self._stepping = self._rotation.next(able)
                    return self._stepping, None
                self._changed.wait(STALL_S if at_work else None)
                self._stalled.clear()
        return None

    def _step(self, engine: Engine) -> None:
        worked = False

        def step() -> None:
            nonlocal worked
            worked = engine.step()

        begun = self._clock()
        self._guarded(engine, step)
        spent = self._clock() - begun
        with self._changed:
            if worked:
                self._stalled.clear()
            if engine not in self._engines:
                return
            self._rotation.charge(engine, spent)
            if not worked:
                self._stalled.add(engine)

    def _forget(self, engine: Engine) -> None:
        """It has no turns any more. With the lock held."""
        self._engines = [one for one in self._engines if one is not engine]
        self._errands = deque(errand for errand in self._errands if errand[0] is not engine)
        self._rotation.forget(engine)
        self._stalled.discard(engine)

    def _guarded(self, engine: Engine, work: Callable[[], None]) -> None:
        """Do it. If it fails as a whole, the engine's requests end, and it is stepped no more."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  # the boundary: one engine's failure must not end the others'
            _LOG.exception("An engine failed")
            with self._changed:
                self._forget(engine)
            _end_all(engine, error)
            self._on_broken(engine, error)


def _end_all(engine: Engine, error: Exception) -> None:
    """What is broken may not even be able to say so; who hears of it tells the rest."""
    failed = GenerationFailed("The engine failed.", hint="Try again; the core's log says more.")
    try:
        engine.fail_all(error if isinstance(error, InferenceError) else failed)
    except Exception:  # noqa: BLE001  # the thread serves every model: none of them may end it
        _LOG.exception("A broken engine could not end its requests")
