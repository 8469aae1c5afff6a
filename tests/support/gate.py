"""The gate before the routes of programs, without the pages, in a thread on loopback."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.types import ASGIApp

from app import forward
from app.access import Gate
from app.hosts import Hosts
from app.inference.server import KeyFile, Server, bind, url
from app.playground.core import Core
from app.programs import Programs
from spaces_runner.core import keys
from spaces_runner.settings import Settings
from tests.support.web import TOKEN


def gate(core: Core, settings: Settings) -> Gate:
    """A private one, before `core`."""
    programs = Programs(KeyFile(keys.path(settings)))
    return Gate(Starlette(routes=forward.routes(core)), TOKEN, Hosts(), private=True, programs=programs)


@contextmanager
def listening(app: ASGIApp, on_stopping: Callable[[], Awaitable[None]] | None = None) -> Iterator[str]:
    """`app` on a free port; its address."""
    listener, answers = bind("127.0.0.1", 0), threading.Event()
    server = Server(app, on_started=answers.set, on_stopping=on_stopping)
    server.config.timeout_graceful_shutdown = 1
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert answers.wait(10), "the server does not answer"
        yield url(listener)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
    assert not thread.is_alive()
