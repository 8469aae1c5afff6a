"""The gate before the routes of programs, without the pages, in a thread on loopback."""

from __future__ import annotations

from starlette.applications import Starlette

from app import forward
from app.access import Gate
from app.hosts import Hosts
from app.inference.server import KeyFile
from app.playground.core import Core
from app.programs import Programs
from spaces_runner.core import keys
from spaces_runner.settings import Settings
from tests.support.web import TOKEN


def gate(core: Core, settings: Settings) -> Gate:
    """A private one, before `core`."""
    programs = Programs(KeyFile(keys.path(settings)))
    return Gate(Starlette(routes=forward.routes(core)), TOKEN, Hosts(), private=True, programs=programs)
