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

from app.inference.errors import InferenceError, ModelUnavailable

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


class Lane:
    def __init__(self, name: str = "moves") -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[], _T]) -> _T:
        """What `call` returns. Raises its InferenceError; any other failure is told as ModelUnavailable."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[_T] = loop.create_future()

        def work() -> None:
            settle = _attempt(call, outcome)
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: None if outcome.done() else settle())

        self._calls.put(work)
        return await outcome

    def _work(self) -> None:
        while True:
            self._calls.get()()


def _attempt(call: Callable[[], _T], outcome: asyncio.Future[_T]) -> Callable[[], None]:
    """What settles `outcome` with how the call went."""
    try:
        result = call()
    except InferenceError as error:
        return partial(outcome.set_exception, error)
    except Exception as error:  # noqa: BLE001  # the boundary: whoever waits must hear that the model does not come
        _LOG.exception("A model could not be moved")
        told = ModelUnavailable(
            f"The model could not be made ready: {type(error).__name__}: {error}", hint="The core's log says more."
        )
        told.__cause__ = error
        return partial(outcome.set_exception, told)
    return partial(outcome.set_result, result)
