"""What every face does with Spaces: start, stop, restart, remove, look. Knows the store and the shims, no stage.

A face may be killed at any moment: what it was about to do is in the store, and the next face sweeps up.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from spaces_runner import gpu, logfile, lost, removal, secrets
from spaces_runner.errors import BadOption, LaunchError, UnknownSpace
from spaces_runner.job import Job
from spaces_runner.masking import SHORTEST
from spaces_runner.process import Identity
from spaces_runner.settings import Settings
from spaces_runner.spawn import start_shim
from spaces_runner.store import Store, opened
from spaces_runner.store.records import Admission, Run, Space
from spaces_runner.types import (
    Event,
    RefKind,
    RunOptions,
    SpaceRef,
    SpaceStatus,
    Stage,
)

POLL_S = 0.1
LIVENESS_EVERY_S = 1.0
ATTACH_S = 5.0  # for a stop to wait for a shim that is just being started
STOP_S = 15.0  # in which a stop has ended everything that can be ended, whatever it meets
SHIM_KILLED_S = 2.5  # of these, for a shim that hangs to be killed, and for what it leaves behind to be ended

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_PYTHON = re.compile(r"3(\.\d{1,2}){0,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A Space to run. A `name` lets the same Space run more than once."""

    ref: SpaceRef
    options: RunOptions = field(default_factory=RunOptions)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    name: str | None = None


def start(request: Request, settings: Settings) -> str:
    """Start a Space and return its id. One that is at work already is taken as it is, whatever the options say.

    Raises BadOption or GpuUnavailable before anything is written. With a model of the core, that must run, or have run:
    raises CoreFailed where it does not come up.
    """
    _check(request)
    gpu.require(request.options.gpu, settings.visible_gpus)
    store = _swept(settings)
    variables = _of_model(request.options, settings)
    admission = store.admit(request.ref, request.options, request.name)
    if admission.fresh:
        if variables:
            _give_token(admission.space, settings)
        if request.secrets:
            secrets.add(settings, admission.space.id, request.secrets)
        _launch(admission, store, settings, variables)
    return admission.space.id


def _check(request: Request) -> None:
    """Raises BadOption for what no launch could make sense of."""
    if request.name is not None and not _NAME.fullmatch(request.name):
        raise BadOption(
            f"{request.name[:60]!r} cannot be a Space's name.",
            hint="A name has letters, digits, - and _, begins with a letter or digit, and has 40 characters at most.",
        )
    if request.options.python is not None and not _PYTHON.fullmatch(request.options.python):
        raise BadOption(f"{request.options.python[:60]!r} is no Python version.", hint="Give one like 3.10 or 3.10.13.")
    for name, value in request.secrets.items():
        if 0 < len(value) < SHORTEST:
            raise BadOption(
                f"The secret {name[:60]} is too short to be kept out of the logs.",
                hint=f"A secret has {SHORTEST} characters or more. Give what is no secret with --env.",
            )


def restart(space_id: str, settings: Settings) -> str:
    """Stop a Space and start it as it was last asked for; returns its id. Its files are fetched and built anew.

    Raises GpuUnavailable, and leaves it as it is, where the GPU that it was started with is not here any more.
    """
    store = opened(settings)
    space = store.space(space_id)
    gpu.require(space.options.gpu, settings.visible_gpus)
    stop(space_id, settings)
    variables = _of_model(space.options, settings)
    admission = store.readmit(space)
    if admission.fresh:
        _launch(admission, store, settings, variables)
    return space_id


def stop(space_id: str, settings: Settings) -> SpaceStatus:
    """End a Space with its whole family, or its build; returns when it has ended, within STOP_S seconds.

    Its shim does it. One that hangs is killed in time for the rest to be done from here.
    """
    latest = time.monotonic() + STOP_S - SHIM_KILLED_S
    store = opened(settings)
    store.space(space_id)
    store.ask_stop(space_id)
    run = _registered(space_id, store)
    if run.status.stage.active and run.shim is not None:
        patience = min(settings.stop_grace_s + SHIM_KILLED_S, latest - time.monotonic())
        killed = not _let_end(run.shim, patience)
        run = store.run(space_id)
    else:
        killed = False
    if run.status.stage.active:
        lost.end(run, store, settings, in_haste=killed)
    lost.sweep(store, settings)
    return store.run(space_id).status


def remove(space_id: str, settings: Settings) -> None:
    """Stop a Space and forget it, with its files, logs, data and secrets. Its token of the core opens nothing then."""
    store = _swept(settings)
    with suppress(UnknownSpace):
        stop(space_id, settings)
    removal.discard(store.space(space_id).id, store, settings)


def never_was(status: SpaceStatus, settings: Settings) -> bool:
    """Whether the Space that failed so is nowhere to be had: mistyped, or not for this owner."""
    return removal.never_was(status, settings)


def forget_if_never_was(status: SpaceStatus, settings: Settings) -> bool:
    """Forget such a Space. For a face that has just shown `status`; one that has more to it stays as it is."""
    return removal.forget_if_never_was(status, opened(settings), settings)


def status(space_id: str, settings: Settings) -> SpaceStatus:
    """What it is now; one that lost its shim is ended first. Raises UnknownSpace."""
    return _swept(settings).run(space_id).status


def statuses(settings: Settings) -> tuple[SpaceStatus, ...]:
    """Every Space's, oldest first. What lost its shim is swept before."""
    return tuple(run.status for run in _swept(settings).runs() if run.space.ref.kind is not RefKind.CORE)


def events(space_id: str, settings: Settings, since: int = 0) -> tuple[tuple[int, Event], ...]:
    """The numbered events of the current run after number `since`."""
    store = _swept(settings)
    return store.events(store.run(space_id).id, since)


def wait(space_id: str, settings: Settings, timeout: float | None = None) -> SpaceStatus:
    """Until it is RUNNING or not at work any more; at most `timeout` seconds. Returns what it is then."""
    store = _swept(settings)
    for run in _looks(space_id, store, settings, timeout):
        if run.status.stage is Stage.RUNNING or not run.status.stage.active:
            break
    return run.status


def follow(space_id: str, settings: Settings, timeout: float | None = None) -> Iterator[Event]:
    """The events of the current run from its start, until it is RUNNING or has ended, at most `timeout` seconds."""
    store = _swept(settings)
    first, last = store.run(space_id).id, 0
    for run in _looks(space_id, store, settings, timeout):
        if run.id != first:
            return
        for number, event in store.events(first, last):
            yield event
            last = number
        if run.status.stage is Stage.RUNNING or not run.status.stage.active:
            return


def log_tail(space_id: str, settings: Settings, which: str = "run", lines: int = 200) -> list[str]:
    """The last lines of the "run" or the "build" log, as harmless text."""
    return logfile.tail(_log(space_id, settings, which), lines)


def log_follow(space_id: str, settings: Settings, which: str = "run", tail: int = 0) -> Iterator[str]:
    """The last `tail` lines and what is logged from then on, until the Space ends; the build log, until it is built."""
    store = opened(settings)
    first = store.run(space_id)
    ends = {Stage.BUILDING} if which == "build" else {stage for stage in Stage if stage.active}

    def going() -> bool:
        try:
            run = store.run(space_id)
        except UnknownSpace:
            return False
        return run.id == first.id and run.status.stage in ends and (run.shim is None or run.shim.alive)

    return logfile.follow(_log(space_id, settings, which), going=going, before=tail)


def patch_diff(space_id: str, settings: Settings) -> str:
    """What was changed in the Space's source, as a unified diff; "" where nothing was."""
    return _swept(settings).run(space_id).diff


def find(text: str, settings: Settings) -> str:
    """The id of the Space that `text` means: an id, or what it was started as. Raises UnknownSpace, AmbiguousSpace."""
    from spaces_runner import naming  # only the verbs that name a Space need it

    spaces = [space for space in opened(settings).spaces() if space.ref.kind is not RefKind.CORE]
    return naming.find(text, spaces, settings)


def sweep(settings: Settings) -> tuple[str, ...]:
    """End what is left of Spaces whose shim is gone. Returns their ids.

    Every verb of the command line (`stop` is one) and the page do this at their start, and so does each function here
    that is asked for a Space, which is how a handle does it. The function `stop` alone ends first what it was asked to.
    """
    return lost.sweep(opened(settings), settings)


def prune(settings: Settings, dry_run: bool = False, cache: bool = False) -> dict[str, list[str]]:
    """Remove what no Space uses; with `dry_run` only say what would go. `cache`: what only makes launches faster, too.

    Raises SpaceBusy where the cache should go while a Space is being built.
    """
    from spaces_runner.pruning import prune as remove_unused  # it needs what only this verb needs

    return remove_unused(_swept(settings), settings, dry_run=dry_run, cache=cache)


# Starting


def _of_model(options: RunOptions, settings: Settings) -> dict[str, str]:
    """The variable in which a Space finds its model of the core, which is started again where it has ended."""
    if options.model is None:
        return {}
    from spaces_runner.core import link, service  # the core's package is built on this module

    wanted = link.parse(options.model)
    return {wanted.variable: link.address(wanted, service.again(settings))}


def _give_token(space: Space, settings: Settings) -> None:
    """A token of the Space's own for the core, in place of the one it had."""
    from spaces_runner.core import keys, link

    before = secrets.read(settings, space.id).get(link.TOKEN_VARIABLE)
    secrets.add(settings, space.id, {link.TOKEN_VARIABLE: keys.grant(settings, space.id)})
    keys.revoke(settings, [before] if before else [])


def _launch(admission: Admission, store: Store, settings: Settings, variables: Mapping[str, str]) -> None:
    """Start the shim of a fresh run. Returns once it is registered; a run never stays without one.

    `variables` hold for this run alone.
    """
    space = admission.space
    names = tuple(sorted(secrets.read(settings, space.id)))
    job = Job(
        space_id=space.id,
        run_id=admission.run_id,
        ref=space.ref,
        options=replace(space.options, secret_names=names, variables={**space.options.variables, **variables}),
        settings=settings,
        user=store.user(space),
    )
    logs = settings.space(space.id).logs
    try:
        start_shim(job, logs / "shim.log")
    except (OSError, subprocess.SubprocessError) as error:
        failed = LaunchError(
            f"The process that runs the Space did not start: {error}", hint=f"See {logs / 'shim.log'}."
        )
        lost.close(admission.run_id, failed.info, store)
        raise failed from error


# Looking


def _swept(settings: Settings) -> Store:
    """The store, once what had lost its shim has been ended."""
    store = opened(settings)
    lost.sweep(store, settings)
    return store


def _looks(space_id: str, store: Store, settings: Settings, timeout: float | None) -> Iterator[Run]:
    """The current run, again and again. One whose shim is gone is swept on the way, so that it ends."""
    deadline = None if timeout is None else time.monotonic() + timeout
    check = time.monotonic()
    while True:
        now = time.monotonic()
        if now >= check:
            check = now + LIVENESS_EVERY_S
            run = _current(space_id, store, settings)
        else:
            run = store.run(space_id)
        yield run
        if deadline is not None and now >= deadline:
            return
        time.sleep(POLL_S)


def _current(space_id: str, store: Store, settings: Settings) -> Run:
    """The current run; one whose shim is gone is ended first."""
    run = store.run(space_id)
    if run.status.stage.active and lost.is_lost(run):
        lost.end(run, store, settings)
        run = store.run(space_id)
    return run


def _let_end(shim: Identity, patience_s: float) -> bool:
    """Whether a shim ended when it was asked to; one that did not is killed, and its app dies with it."""
    if not shim.signal(signal.SIGTERM):
        return True
    shim.signal(signal.SIGCONT)  # a stopped one would not hear the first
    if shim.wait(patience_s):
        return True
    shim.signal(signal.SIGKILL)
    shim.wait(0.5)
    return False


def _registered(space_id: str, store: Store) -> Run:
    """The current run with its shim; one that is just being started is waited for."""
    deadline = time.monotonic() + ATTACH_S
    run = store.run(space_id)
    while run.status.stage.active and run.shim is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
        run = store.run(space_id)
    return run


def _log(space_id: str, settings: Settings, which: str) -> Path:
    _swept(settings).space(space_id)
    dirs = settings.space(space_id)
    return dirs.build_log if which == "build" else dirs.run_log
