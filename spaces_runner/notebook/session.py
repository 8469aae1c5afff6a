"""A cell's Space from start to end: resumed, started or adopted, shown, saved, stopped. The order is here alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from spaces_runner import handle, looking, stopping
from spaces_runner.format import age, event_lines
from spaces_runner.notebook import countdown, forward, rooms
from spaces_runner.notebook.forward import Forward
from spaces_runner.notebook.host import GB, Host
from spaces_runner.notebook.keep import Keeper
from spaces_runner.notebook.resume import resume, same
from spaces_runner.notebook.snapshot import Snapshot
from spaces_runner.notebook.stay import Stay
from spaces_runner.notebook.tell import Tell
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.store import opened
from spaces_runner.types import SpaceRef, SpaceStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a cell asks for. `storage_gb` and `hours` are None where the platform's usual ones hold."""

    space: str
    share: bool = True
    gpu: str = "auto"
    model: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    hours: float | None = None
    storage_gb: float | None = None

    @property
    def storage_bytes(self) -> int | None:
        return None if self.storage_gb is None else round(self.storage_gb * GB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One cell's. KeyboardInterrupt stops the Space; SystemExit leaves it, for the next cell to adopt."""

    order: Order
    host: Host
    settings: Settings
    tell: Tell

    def run(self) -> None:
        """Returns when the Space was stopped. Raises the error that ended it, or that kept it from starting."""
        ref = parse(self.order.space, self.settings)
        for line in rooms.arrange(self.host, self.settings, self.order.storage_bytes):
            self.tell.line(line)
        keeper = self._keeper()
        if keeper.snapshot:
            resume(keeper.snapshot, ref, self.settings, self.tell.line)
        try:
            with self._stopping(ref), self._forward() as opened_forward:
                space = self._start(ref)
                hours = self.host.hours if self.order.hours is None else self.order.hours
                stay = Stay(
                    host=self.host,
                    countdown=countdown.begin(hours, self.host.platform),
                    keeper=keeper,
                    tell=self.tell,
                    forward=opened_forward,
                )
                self._end(stay.until_it_ends(space))
        finally:
            keeper.save()

    def _keeper(self) -> Keeper:
        kept = rooms.snapshot(self.host)
        return Keeper(snapshot=Snapshot(kept=kept, settings=self.settings) if kept else None, tell=self.tell)

    def _start(self, ref: SpaceRef) -> handle.Space:
        """The Space, once it is RUNNING. One that is at work already is adopted."""
        found, order = self._at_work(ref), self.order
        space = handle.run(
            order.space,
            wait=False,
            share=order.share,
            gpu=order.gpu,
            model=order.model,
            env=order.variables,
            secrets=order.secrets,
            settings=self.settings,
        )
        if found:
            self.tell.line(f"{found.space} runs already, since {age(found.started_at)}: it is taken as it is.")
        for event in () if found else looking.follow(space.id, self.settings):
            for line in event_lines(event):
                self.tell.line(line)
        return space.wait()

    def _end(self, status: SpaceStatus) -> None:
        if status.error:
            raise handle.error_from(status.error)
        self.tell.line(f"{status.space} was stopped.")

    @contextmanager
    def _stopping(self, ref: SpaceRef) -> Iterator[None]:
        """An interruption in here stops the Space, also in the middle of its start."""
        try:
            yield
        except KeyboardInterrupt:
            self.tell.line("Stopping …")
            found = self._at_work(ref)
            if found:
                stopping.stop(found.id, self.settings)
            self.tell.line(f"{self.order.space} is stopped.")

    def _at_work(self, ref: SpaceRef) -> SpaceStatus | None:
        runs = opened(self.settings).runs()
        mine = (run.status for run in runs if same(run.space.ref, ref) and run.space.name is None)
        return next((status for status in mine if status.stage.active), None)

    @contextmanager
    def _forward(self) -> Iterator[Forward | None]:
        """Behind the platform's own link. None where there is no such link, or no public one is wished for."""
        if not self.host.native or not self.order.share:
            yield None
            return
        try:
            listener = forward.listen(*self.host.listen)
        except OSError as error:
            self.tell.line(
                f"{self.host.native} does not lead to the Space: {error.strerror} (port {self.host.listen[1]})."
            )
            yield None
            return
        with forward.forwarding(listener) as opened_forward:
            yield opened_forward
