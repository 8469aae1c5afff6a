"""What tests of the checkout share: obtaining a Space, and hearing what was reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from spaces_runner.checkout import obtain
from spaces_runner.ref import parse
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, Event, Progress, Step


@dataclass(slots=True)
class Told:
    """Everything that a reporter was told."""

    events: list[Event] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def reporter(self) -> Reporter:
        return Reporter(emit=self.events.append, log=self.lines.append)

    def progress(self, step: Step, unit: str) -> list[Progress]:
        found = [event for event in self.events if isinstance(event, Progress)]
        return [event for event in found if event.step is step and event.unit == unit]


def take(text: str, settings: Settings, told: Told | None = None, name: str = "one") -> Checkout:
    """The Space that `text` names, in the directory of the Space called `name`."""
    return obtain(parse(text, settings), settings.space(name).app, settings, (told or Told()).reporter)


def contents(root: Path) -> dict[str, bytes | str]:
    """Every file's content and every link's target, by path."""
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = str(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


def leftovers(settings: Settings) -> list[str]:
    """Half-made things anywhere in the state directory."""
    return [str(path) for path in settings.home_dir.rglob("*") if path.name.startswith("tmp-") or "tmp_" in path.name]
