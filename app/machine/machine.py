"""Looks at the machine, at most once a second whoever asks, and remembers the last minutes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from app.machine import families
from app.machine.cards import Cards, driver
from app.machine.values import Point, Process, Reading, Usage

EVERY_S = 1.0
GLANCE_S = 5.0
KEPT_S = 300.0
SHORTEST_S = 0.2  # of the processors' time: over less of it they tell no share


@dataclass(slots=True)
class Machine:
    """May be asked from any thread. What happened while nobody looked is not known."""

    cards: Cards = field(default_factory=lambda: Cards(driver))
    clock: Callable[[], float] = time.time
    _readings: deque[Reading] = field(default_factory=deque)
    _last: Reading | None = None  # of the looks, as is the one before
    _before: Reading | None = None
    _times: tuple[float, float] = (0.0, 0.0)  # of all processors since the start of the machine: at work, in all
    _share: float = 0.0  # at work, as of then
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> Reading:
        """The machine now, or up to EVERY_S ago."""
        with self._lock:
            last, now = self._last, self.clock()
            if last is not None and 0 <= now - last.at < EVERY_S:
                return last
            self._before, self._last = self._last, self._read(now, _processes())
            return self._keep(self._last)

    def glance(self) -> None:
        """Remember how the machine is now, where nobody looked for GLANCE_S: cheaper than a look, for a plot later."""
        with self._lock:
            now = self.clock()
            if not self._readings or not 0 <= now - self._readings[-1].at < GLANCE_S:
                self._keep(self._read(now, {}))

    def usage(self, pid: int) -> Usage | None:
        """What the process and all it started take, as of the last look; None where it is gone."""
        with self._lock:
            last, before = self._last, self._before
        return families.usage(last, before, pid) if last else None

    def memory_over_time(self) -> list[Point]:
        """The machine's own memory and processors."""
        return [
            Point(at=reading.at, memory=reading.memory_used / reading.memory_total, load=reading.cpu)
            for reading in self._kept()
        ]

    def card_over_time(self, uuid: str) -> list[Point]:
        return [
            Point(at=reading.at, memory=card.used / card.total if card.total else 0.0, load=card.load)
            for reading in self._kept()
            for card in reading.cards
            if card.uuid == uuid
        ]

    def _kept(self) -> list[Reading]:
        with self._lock:
            return list(self._readings)

    def _keep(self, reading: Reading) -> Reading:
        self._readings.append(reading)
        while reading.at - self._readings[0].at > KEPT_S:
            self._readings.popleft()
        return reading

    def _read(self, now: float, processes: dict[int, Process]) -> Reading:
        memory = psutil.virtual_memory()
        return Reading(
            at=now,
            cpu=self._load(),
            cpus=psutil.cpu_count() or 1,
            memory_total=memory.total,
            memory_used=memory.total - memory.available,
            cards=self.cards.read(),
            processes=processes,
        )

    def _load(self) -> float:
        """The share of the processors' time at work since the reading before; since the machine's start at the first.

        psutil's own share is kept for each thread apart, and looks come from any.
        """
        times = psutil.cpu_times()
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # counted in user, too
        work = total - times.idle - getattr(times, "iowait", 0.0)
        (work_before, before) = self._times
        if total - before >= SHORTEST_S:
            self._times = (work, total)
            self._share = min(max((work - work_before) / (total - before), 0.0), 1.0)
        return self._share


def _processes() -> dict[int, Process]:
    found: dict[int, Process] = {}
    for process in psutil.process_iter(["ppid", "memory_info", "cpu_times"]):
        told = process.info
        if told["memory_info"] is not None and told["cpu_times"] is not None:
            spent = told["cpu_times"].user + told["cpu_times"].system
            found[process.pid] = Process(parent=told["ppid"] or 0, memory=told["memory_info"].rss, cpu_s=spent)
    return found
