"""What every step of an environment's making needs at hand: settings, where to report, whose code it is, a scratch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from spaces_runner.environment.uv import LineSink, Uv, locked_index, own_room, space_room
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, Confinement, User

_CHECKOUT, _SCRATCH = "@checkout@", "@scratch@"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """`scratch` is an empty directory that all may enter and only the runner writes. `under`: the Space's code."""

    settings: Settings
    report: Reporter
    checkout: Checkout
    scratch: Path
    under: Confinement

    @property
    def user(self) -> User | None:
        """The Space's; None where the runner is not root."""
        return self.under.user

    def runners(self, on_line: LineSink | None = None) -> Uv:
        """uv as the runner, with the shared cache: never lets a package's code run."""
        room = own_room(self.settings, self.scratch)
        return Uv(settings=self.settings, room=room, on_line=on_line or self.report.log)

    def installing(self, on_line: LineSink) -> Uv:
        """uv as the runner, for packages whose files are known already."""
        return replace(self.runners(on_line), variables=locked_index(self.settings))

    def spaces(self, on_line: LineSink | None = None) -> Uv:
        """uv as the Space's user, with a cache of its own: may run what the Space brings."""
        room = space_room(self.scratch, Path(self.checkout.path), self.under, self.settings)
        return Uv(settings=self.settings, room=room, on_line=on_line or self.report.log)

    def portable(self, text: str) -> str:
        """`text` with the places of this run replaced by marks, so that another run of the Space can use it."""
        for mark, place in ((_SCRATCH, self.scratch), (_CHECKOUT, Path(self.checkout.path))):
            text = text.replace(f"{place}/".lstrip("/"), f"{mark}/")
        return text

    def placed(self, text: str) -> str:
        """The opposite of `portable`."""
        for mark, place in ((_SCRATCH, self.scratch), (_CHECKOUT, Path(self.checkout.path))):
            text = text.replace(f"{mark}/", f"{place}/".lstrip("/"))
        return text
