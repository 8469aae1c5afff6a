"""A thread that blocks so that the asyncio loop need not: one call after the other.

The thread is a daemon: a process that must end does not wait for a load of minutes.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from app.inference.errors import DeviceLost, InferenceError, ModelUnavailable
from app.inference.faults import loss_in

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


class Lane:
    """`on_lost` is called in the loop where a call finds the device lost. Who waits for that call hears it first."""

    def __init__(self, name: str = "moves", on_lost: Callable[[DeviceLost], None] | None = None) -> None:
        self._on_lost = on_lost
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[], _T]) -> _T:
        """What `call` returns. Raises DeviceLost, or its InferenceError; any other failure is ModelUnavailable."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[_T] = loop.create_future()

        def work() -> None:
            settle = _attempt(call, outcome)
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: None if outcome.done() else settle())

        self._calls.put(work)
        try:
            return await outcome
        except DeviceLost as lost:
            if self._on_lost is not None:
                loop.call_soon(self._on_lost, lost)
            raise

    def _work(self) -> None:
        while True:
            self._calls.get()()


def _attempt(call: Callable[[], _T], outcome: asyncio.Future[_T]) -> Callable[[], None]:
    """What settles `outcome` with how the call went."""
    try:
        result = call()
    except Exception as error:  # noqa: BLE001  # the boundary: whoever waits must hear that the model does not come
        return partial(outcome.set_exception, _told(error))
    return partial(outcome.set_result, result)


def _told(error: Exception) -> InferenceError:
    """What whoever waits hears of it."""
    lost = loss_in(error)
    if lost is None and isinstance(error, InferenceError):
        return _without_frames(error)
    _LOG.error("A model could not be moved", exc_info=error)
    told = lost or ModelUnavailable(
        f"The model could not be made ready: {type(error).__name__}: {error}", hint="The core's log says more."
    )
    if told is not error:
        told.__cause__ = error
    return _without_frames(told)


def _without_frames(error: InferenceError) -> InferenceError:
    """Frames hold what had been taken of the device's memory, and a model's last error is kept."""
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None:
            one.__traceback__ = None
            left += [one.__cause__, None if one.__context__ is one.__cause__ else one.__context__]
    return error
