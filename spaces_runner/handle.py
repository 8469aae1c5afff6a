"""The Python API: a Space as an object, in a script or a notebook. Works inside a running event loop: nothing is async.

space = spaces_runner.run("owner/name")
print(space.url, space.share_url)
space.stop()
"""

from __future__ import annotations

import html
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from spaces_runner.errors import NeverReady, ReportedError, RunnerError
from spaces_runner.format import event_lines, link_lines
from spaces_runner.settings import Settings, read_settings
from spaces_runner.types import ErrorInfo, Event, Finding, RunOptions, SpaceRef, SpaceStatus, Stage

if TYPE_CHECKING:
    from spaces_runner.checking import Result
    from spaces_runner.types import Inspection

Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Space:
    """A Space of this machine. It holds no state of its own: every attribute is asked for when it is read.

    As a context manager it stops the Space at the end. Letting go of the object does not: the Space outlives it.
    """

    id: str
    settings: Settings

    @property
    def status(self) -> SpaceStatus:
        """Everything there is to know. Raises UnknownSpace when it was removed."""
        from spaces_runner import looking

        return looking.status(self.id, self.settings)

    @property
    def stage(self) -> Stage:
        return self.status.stage

    @property
    def url(self) -> str | None:
        """The link on this machine."""
        return self.status.local_url

    @property
    def share_url(self) -> str | None:
        """The public link; None where none was asked for or none could be had (`findings` says why)."""
        return self.status.share_url

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.status.findings

    def events(self) -> tuple[Event, ...]:
        """What the latest run said, from its beginning."""
        from spaces_runner import looking

        return tuple(event for _, event in looking.events(self.id, self.settings, 0))

    def logs(self, which: str = "run", tail: int = 100, follow: bool = False) -> Iterable[str]:
        """The last `tail` lines of the "run" or the "build" log; an iterator that goes on with `follow`."""
        from spaces_runner import looking

        if follow:
            return looking.log_follow(self.id, self.settings, which, tail)
        return looking.log_tail(self.id, self.settings, which, tail)

    def wait(self, timeout: float | None = None) -> Space:
        """Until it is RUNNING. Raises the error that ended it, or NeverReady after `timeout` seconds."""
        return _arrived(self, timeout, None)

    def stop(self) -> Space:
        """End it with every process that it started."""
        from spaces_runner import stopping

        stopping.stop(self.id, self.settings)
        return self

    def restart(self, *, wait: bool = True, timeout: float | None = None) -> Space:
        """Start it again as it was started before."""
        from spaces_runner import control

        control.restart(self.id, self.settings)
        return self.wait(timeout) if wait else self

    def remove(self) -> None:
        """Stop it and forget it, with its files, data, logs and secrets."""
        from spaces_runner import control

        control.remove(self.id, self.settings)

    def __enter__(self) -> Space:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        status = _status_or_none(self)
        if status is None:
            return f"<Space {self.id} removed>"
        links = [link for link in (status.share_url, status.local_url) if link]
        return " ".join(["<Space", self.id, status.space, str(status.stage), *links]) + ">"

    def _repr_html_(self) -> str:
        status = _status_or_none(self)
        if status is None:
            return f"<b>{html.escape(self.id)}</b> removed"
        parts = [f"<b>{html.escape(status.space)}</b>", f"<code>{html.escape(status.stage)}</code>"]
        parts += [_anchor(link) for link in (status.share_url, status.local_url) if link]
        if status.error:
            parts.append(html.escape(status.error.message))
        return " &middot; ".join(parts)


def run(  # noqa: PLR0913  # one keyword per thing that can be asked for
    space: str | os.PathLike[str],
    *,
    wait: bool = True,
    timeout: float | None = None,
    share: bool = True,
    gpu: str = "auto",
    python: str | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    args: Iterable[str] = (),
    name: str | None = None,
    model: str | None = None,
    apt: bool = False,
    refresh: bool = False,
    settings: Settings | None = None,
    progress: Listener | None = None,
    quiet: bool = False,
) -> Space:
    """Start a Space and, with `wait`, return when it answers; raise the error of the stage that failed otherwise.

    `space` is an address, `owner/name`, or a directory; a path object is always a directory. `gpu` is "auto", "none",
    an index or a UUID. `model` is one of the inference core's, which is started if need be: the Space finds its address
    in API_URL, or, with "NAME=VARIABLE", in VARIABLE, and a token in API_TOKEN. `apt` is your yes to installing what
    its packages.txt asks for, as root and for the whole machine. `progress` is called with each event in
    place of the printed lines. After `timeout` seconds NeverReady is raised and the Space goes on: `spaces()` has it.
    """
    from spaces_runner import control

    settings = settings or read_settings()
    options = RunOptions(
        share=share,
        gpu=str(gpu),
        python=python,
        variables=dict(env or {}),
        secret_names=tuple(secrets or ()),
        app_args=tuple(args),
        refresh=refresh,
        apt=apt,
        model=model,
    )
    ref = _named(space, settings)
    if model:
        _start_core(settings)
    request = control.Request(ref=ref, options=options, secrets=dict(secrets or {}), name=name)
    started = Space(id=control.start(request, settings).id, settings=settings)
    if not wait:
        return started
    _arrived(started, timeout, progress or (None if quiet else print_event))
    if not quiet and progress is None:
        for line in link_lines(started.status):
            print(line, flush=True)  # noqa: T201  # for the person at the notebook
    return started


def _named(space: str | os.PathLike[str], settings: Settings) -> SpaceRef:
    """What `space` names. A path object is a directory, also where its text could be a Space on the Hub."""
    from spaces_runner.ref import parse

    return parse(_text(space), settings)


def _text(space: str | os.PathLike[str]) -> str:
    """What a person would paste."""
    text = os.fspath(space)
    return text if isinstance(space, str) or text.startswith(("/", "~")) else f"./{text}"


def _start_core(settings: Settings) -> None:
    from spaces_runner import core

    core.ensure(settings, core.Command(python=sys.executable, root=core.own_checkout(), environ=os.environ))


def inspect(  # noqa: PLR0913  # one keyword per thing that can be asked for
    space: str | os.PathLike[str],
    *,
    gpu: str = "auto",
    python: str | None = None,
    refresh: bool = False,
    settings: Settings | None = None,
    progress: Listener | None = None,
) -> Inspection:
    """The whole plan of a Space: files, packages, patch, findings. Starts nothing. Raises as `run` does.

    Large files (LFS objects) are named with their sizes and not fetched.
    """
    from spaces_runner import looking, runner
    from spaces_runner.report import Reporter

    settings = settings or read_settings()
    options = RunOptions(gpu=str(gpu), python=python, refresh=refresh)
    report = Reporter(emit=progress) if progress else Reporter()
    looking.sweep(settings)
    return runner.inspect(_named(space, settings), options, settings, report)


def check(  # noqa: PLR0913  # one keyword per thing that can be asked for
    spaces: Iterable[str | os.PathLike[str]],
    *,
    jobs: int | None = None,
    timeout: float = 1800.0,
    keep: bool = False,
    gpu: str = "auto",
    python: str | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    apt: bool = False,
    settings: Settings | None = None,
    progress: Callable[[Result], None] | None = None,
) -> tuple[Result, ...]:
    """Run many Spaces, each until its page and one call have answered, and say how each fared, in the order asked.

    `jobs` are run at once (None: as there is room), `timeout` seconds are given to each, and each is stopped and
    removed afterwards; `keep` leaves out the removing. `progress` is called with each result as it comes. A Space that
    fails is a result, not an error; KeyboardInterrupt ends everything that was started.
    """
    from spaces_runner import checking

    options = RunOptions(
        share=False,
        gpu=str(gpu),
        python=python,
        variables=dict(env or {}),
        secret_names=tuple(secrets or ()),
        apt=apt,
    )
    order = checking.Order(options=options, secrets=dict(secrets or {}), jobs=jobs, timeout_s=timeout, keep=keep)
    wanted = [_text(space) for space in spaces]
    results = checking.check(wanted, order, settings or read_settings(), progress or (lambda _: None))
    return tuple(sorted(results, key=lambda result: wanted.index(result.space)))


def spaces(*, settings: Settings | None = None) -> tuple[Space, ...]:
    """Every Space of this machine."""
    from spaces_runner import looking

    settings = settings or read_settings()
    return tuple(Space(id=status.id, settings=settings) for status in looking.statuses(settings))


def print_event(event: Event) -> None:
    """The lines of an event on standard output."""
    for line in event_lines(event):
        print(line, flush=True)  # noqa: T201  # for the person at the notebook


def error_from(info: ErrorInfo) -> RunnerError:
    """The error that `info` describes, as its own class, so that `except SpaceNotFound` finds it."""
    for cls in _subclasses(RunnerError):
        if vars(cls).get("code") == info.code:
            return cls(info.message, hint=info.hint, lines=info.lines)
    return ReportedError(info)


def _subclasses(cls: type[RunnerError]) -> Iterator[type[RunnerError]]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def _arrived(space: Space, timeout: float | None, listener: Listener | None) -> Space:
    """`space`, once it is RUNNING. One that never was is forgotten, and its error is all that is left of it."""
    from spaces_runner import control, looking

    deadline = None if timeout is None else time.monotonic() + timeout
    if listener is not None:
        for event in looking.follow(space.id, space.settings, timeout):
            listener(event)
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    status = looking.wait(space.id, space.settings, left)
    if status.stage is Stage.RUNNING:
        return space
    if status.error:
        control.forget_if_never_was(status, space.settings)
        raise error_from(status.error)
    if status.stage.active:
        raise NeverReady(
            f"{status.space} is still {status.stage} after {timeout:g} s.", hint="It goes on; wait again, or stop it."
        )
    raise NeverReady(f"{status.space} is {status.stage}.", hint="It was stopped before it answered.")


def _status_or_none(space: Space) -> SpaceStatus | None:
    from spaces_runner.errors import UnknownSpace

    try:
        return space.status
    except UnknownSpace:
        return None


def _anchor(link: str) -> str:
    escaped = html.escape(link, quote=True)
    if not link.startswith(("http://", "https://")):
        return escaped
    return f'<a href="{escaped}" target="_blank" rel="noopener noreferrer">{escaped}</a>'
