"""Several Spaces at a time, within what the machine has room for. However it ends, nothing that it started is left."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from spaces_runner.checking import room
from spaces_runner.checking.one import check_one
from spaces_runner.checking.values import Order, Result
from spaces_runner.settings import Settings

_LOOK_EVERY_S = 0.2
END_S = 60.0  # for what is at work to be ended; each takes 15 s at most


def _ignore(_: Result) -> None:
    """Where nobody listens."""


def check(
    spaces: Sequence[str], order: Order, settings: Settings, tell: Callable[[Result], None] = _ignore
) -> tuple[Result, ...]:
    """The results, in the order in which they came; each is told as it comes, in this thread.

    KeyboardInterrupt ends everything that was started, and then goes on; a second one does not wait for that.
    """
    crew = _Crew(waiting=deque(dict.fromkeys(spaces)), order=order, settings=settings)
    threads = [
        threading.Thread(target=crew.work, name=f"check-{number}", daemon=True)
        for number in range(min(order.jobs or room.most(settings), len(crew.waiting)))
    ]
    for thread in threads:
        thread.start()
    try:
        results = _collect(crew, threads, tell)
    finally:
        crew.stop.set()
        for thread in threads:
            thread.join(END_S)
    if crew.broken:
        raise crew.broken[0]
    return results


@dataclass(slots=True, kw_only=True)
class _Crew:
    """What the threads share. `deque` and `list` may be."""

    waiting: deque[str]
    order: Order
    settings: Settings
    stop: threading.Event = field(default_factory=threading.Event)
    done: deque[Result] = field(default_factory=deque)
    broken: list[BaseException] = field(default_factory=list)
    _gate: threading.Lock = field(default_factory=threading.Lock)
    _at_work: int = 0

    def work(self) -> None:
        """One thread: a Space after the other, until there are none. A defect of ours ends the check, not silently."""
        try:
            while (space := self._next()) is not None:
                try:
                    result = check_one(space, self.order, self.settings, self.stop)
                finally:
                    with self._gate:
                        self._at_work -= 1
                if result is not None:
                    self.done.append(result)
        except BaseException as error:  # noqa: BLE001  # the boundary of a thread: raised again where it is waited for
            self.broken.append(error)
            self.stop.set()

    def _next(self) -> str | None:
        """The next Space once there is room for it: another starts only beside others where nothing is short."""
        while not self.stop.is_set():
            with self._gate:
                if not self.waiting:
                    return None
                if not self._at_work or not room.lacks(self.settings):
                    self._at_work += 1
                    return self.waiting.popleft()
            self.stop.wait(_LOOK_EVERY_S)
        return None


def _collect(crew: _Crew, threads: Iterable[threading.Thread], tell: Callable[[Result], None]) -> tuple[Result, ...]:
    results: list[Result] = []
    while True:
        over = not any(thread.is_alive() for thread in threads)
        while crew.done:
            results.append(crew.done.popleft())
            tell(results[-1])
        if over:
            return tuple(results)
        time.sleep(_LOOK_EVERY_S)
