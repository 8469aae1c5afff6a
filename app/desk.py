"""What the page and its API can ask of the runner, with the settings bound. Knows no components and no HTML.

Runs that lost their shim are swept wherever all Spaces are looked at, which an open page does each second; what is
asked of one Space beside that only reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from app import models
from app.share import LinkState, PageLink
from app.views.timeline import Timeline
from spaces_runner import control, logfile, looking, ref, runner, stopping
from spaces_runner.core import keys
from spaces_runner.report import Reporter
from spaces_runner.sandbox import choice
from spaces_runner.settings import Settings
from spaces_runner.store import opened
from spaces_runner.types import Event, Inspection, RunOptions, Sandbox, SpaceStatus

LOG_LINES = 300
PIECE_LINES = 1000


@dataclass(frozen=True, slots=True)
class Desk:
    """Holds nothing that changes: what is known is the store's, so every page and every face sees the same.

    But for the page's own link, which is this server's.
    """

    settings: Settings
    link: PageLink | None = None  # the page's own; None where nobody wishes for one

    def public_link(self) -> LinkState:
        return self.link.state if self.link else LinkState()

    def known_sandbox(self) -> Sandbox | None:
        """What keeps Spaces in; None before anybody tried."""
        return choice.known(self.settings)

    def sandbox(self) -> Sandbox:
        """What keeps Spaces in. It is tried once, which takes a second or two."""
        return choice.chosen(self.settings)

    def spaces(self) -> tuple[SpaceStatus, ...]:
        """Every Space of this machine: those at work first, then the newest."""
        known = sorted(looking.statuses(self.settings), key=lambda status: status.started_at or "", reverse=True)
        return tuple(sorted(known, key=lambda status: not status.stage.active))

    def space(self, space_id: str) -> SpaceStatus:
        """Raises UnknownSpace."""
        return opened(self.settings).run(space_id).status

    def inspect(self, text: str, options: RunOptions, say: Callable[[Event], None]) -> Inspection:
        """The plan of what `text` names; minutes where packages must be resolved. Raises RunnerError."""
        where = ref.parse(text, self.settings)
        return runner.inspect(where, options, self.settings, Reporter(emit=say))

    def launch(self, text: str, options: RunOptions, secrets: dict[str, str], name: str | None = None) -> SpaceStatus:
        """Start what `text` names, and its status as it begins. Raises RunnerError.

        By a `name` of its own, the same Space runs once more beside the others.
        What was mistyped before has been seen on the page by now, and goes. A Space that is to have a model of this
        machine's waits until their server runs.
        """
        where = ref.parse(text, self.settings)
        if options.model:
            models.start(self.settings)
        for status in looking.statuses(self.settings):
            control.forget_if_never_was(status, self.settings)
        request = control.Request(ref=where, options=options, secrets=secrets, name=name)
        return looking.status(control.start(request, self.settings).id, self.settings)

    def stop(self, space_id: str) -> SpaceStatus:
        return stopping.stop(space_id, self.settings)

    def restart(self, space_id: str) -> SpaceStatus:
        return looking.status(control.restart(space_id, self.settings), self.settings)

    def remove(self, space_id: str) -> None:
        control.remove(space_id, self.settings)

    def timeline(self, space_id: str) -> Timeline:
        """The steps of the Space's newest run, from its events: few, since of progress only the last stays."""
        store = opened(self.settings)
        return Timeline().after(event for _, event in store.events(store.run(space_id).id, 0))

    def log(self, space_id: str, which: str, lines: int = LOG_LINES) -> list[str]:
        """The last lines of the "build" or the "run" log. Raises UnknownSpace."""
        opened(self.settings).space(space_id)
        return logfile.tail(self._log(space_id, which), lines)

    def whole_log(self, space_id: str, which: str) -> Iterator[str]:
        """All that is kept of a log, in pieces of some lines each. Raises UnknownSpace, at once."""
        opened(self.settings).space(space_id)
        return _pieces(logfile.whole(self._log(space_id, which)))

    def log_mark(self, space_id: str, which: str) -> object:
        """What is another with every line that a log gets; None where there is no log."""
        try:
            now = self._log(space_id, which).stat()
        except FileNotFoundError:
            return None
        return now.st_ino, now.st_size, now.st_mtime_ns

    def _log(self, space_id: str, which: str) -> Path:
        dirs = self.settings.space(space_id)
        return dirs.build_log if which == "build" else dirs.run_log

    def diff(self, space_id: str) -> str:
        return opened(self.settings).run(space_id).diff

    def keys(self) -> tuple[str, ...]:
        """The names of the programs that have a key to the models."""
        return keys.issued(self.settings)

    def make_key(self, name: str) -> str:
        """A new key for the program `name`, which is shown here only. Raises RunnerError."""
        return keys.issue(self.settings, name)

    def revoke_key(self, name: str) -> None:
        """It opens nothing any more. Raises RunnerError."""
        keys.withdraw(self.settings, name)


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    while piece := list(islice(lines, PIECE_LINES)):
        yield "".join(f"{line}\n" for line in piece)
