"""The playground of this server: where conversations are kept, and which core answers. Starts nothing by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from app import guests
from app.listening import ModelOptions
from app.playground.answers import Answers
from app.playground.conversations import OWNER, Conversations
from app.playground.core import Core, Find, Place, Seek
from app.playground.errors import CoreAway
from app.playground.playground import Playground
from spaces_runner import core as service
from spaces_runner.errors import RunnerError
from spaces_runner.settings import Settings

ROOT = Path(__file__).parents[1]


def playground(settings: Settings, options: ModelOptions) -> Playground:
    """Without a core that runs already, this machine's own is found, or started, at the first need."""
    conversations = Conversations(settings.home_dir / "page" / "conversations.db")
    place = options.place
    core = Core(find=lambda: place) if place else Core(find=_own(settings), seek=_running(settings))
    answers = Answers(core, conversations)
    rates = guests.crowd(options.guests, lambda: answers.count - answers.of(OWNER))
    return Playground(core, conversations, answers, rates)


def start(settings: Settings) -> service.CoreStatus:
    """This machine's own core, which is started where it does not run. Raises RunnerError."""
    return service.ensure(settings, service.Command(python=sys.executable, root=str(ROOT), environ=os.environ))


def _own(settings: Settings) -> Find:
    def find() -> Place:
        try:
            found = start(settings)
        except RunnerError as error:
            raise CoreAway(f"The models' server could not be started: {error.message}", hint=error.hint) from error
        return Place(url=found.url or "", token=found.token or "")

    return find


def _running(settings: Settings) -> Seek:
    def seek() -> Place | None:
        try:
            found = service.status(settings)
        except RunnerError as error:
            raise CoreAway(f"The models' server cannot be found: {error.message}", hint=error.hint) from error
        return Place(url=found.url, token=found.token or "") if found and found.url else None

    return seek
