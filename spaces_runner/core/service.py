"""The inference core as a service of the runner: found, or started, under a shim of its own; one per state directory.

It is a run like a Space's: the shim starts it, starts it again when it crashes, keeps its log, and takes it along when
it is killed. Only it runs as the owner, and is no Space: `ps` does not list it.
"""

from __future__ import annotations

import secrets as random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from spaces_runner import gpu, looking, secrets, stopping
from spaces_runner.core import choice, keys, plan
from spaces_runner.core.plan import Command
from spaces_runner.errors import CoreFailed, LaunchError
from spaces_runner.job import Job
from spaces_runner.settings import Settings
from spaces_runner.spawn import start_shim
from spaces_runner.store import Store, opened
from spaces_runner.store.records import Admission, Run
from spaces_runner.types import ErrorInfo, RefKind, RunOptions, SpaceRef, Stage

REF = SpaceRef(kind=RefKind.CORE, source="inference-core")
START_S = 330.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreStatus:
    """`url` is where it answers; None while it does not. `token` opens it, with every right.

    `preset` is what was chosen, and `why`, where that was left to it; before it has chosen, what was asked for.
    """

    stage: Stage
    url: str | None
    token: str | None = field(repr=False)
    pid: int | None
    preset: str
    why: str
    gpu: str | None
    started_at: str | None
    restarts: int
    error: ErrorInfo | None


def status(settings: Settings) -> CoreStatus | None:
    """The core as it is now; None where there never was one. One whose shim is gone is swept on the way."""
    looking.sweep(settings)
    run = run_of(opened(settings))
    return status_of(run, settings) if run else None


def ensure(settings: Settings, command: Command, timeout: float = START_S) -> CoreStatus:
    """The core that runs, or one that is started now. Returns when it answers.

    Of many callers at once exactly one starts it. One that runs is taken as it is, whatever preset is asked for.
    Raises CoreFailed with the last lines of its log.
    """
    found = status(settings)
    if found is None or not found.stage.active:
        _start(settings, plan.options(command, settings))
    return _until_it_answers(settings, timeout)


def again(settings: Settings, timeout: float = START_S) -> CoreStatus:
    """The core that runs, or the one that ran last, started again. Raises CoreFailed where there never was one."""
    run = run_of(opened(settings))
    if run is None:
        raise CoreFailed("There is no inference core.", hint="Start one:  spaces-runner core start")
    if not run.status.stage.active:
        _start(settings, run.space.options)
    return _until_it_answers(settings, timeout)


def _until_it_answers(settings: Settings, timeout: float) -> CoreStatus:
    deadline = time.monotonic() + timeout
    while (found := status(settings)) is not None and found.stage.active:
        if found.stage is Stage.RUNNING and found.url:
            return found
        if time.monotonic() > deadline:
            raise CoreFailed(f"The core does not answer after {timeout:.0f} s.", hint="See spaces-runner core logs.")
        time.sleep(POLL_S)
    error = found.error if found else None
    raise CoreFailed(
        f"The core did not start: {error.message if error else 'it was stopped.'}",
        hint="See spaces-runner core logs.",
        lines=error.lines if error else (),
    )


def stop(settings: Settings) -> CoreStatus | None:
    """End it: answers under way have some seconds. Returns when it has ended."""
    run = run_of(opened(settings))
    if run is None:
        return None
    stopping.stop(run.space.id, settings)
    return status(settings)


def log_tail(settings: Settings, lines: int = 200) -> list[str]:
    """The last lines that it printed, as harmless text; of the last run, when it does not run."""
    run = run_of(opened(settings))
    return looking.log_tail(run.space.id, settings, "run", lines) if run else []


def log_follow(settings: Settings) -> Iterator[str]:
    """What it prints from now on, until it ends."""
    run = run_of(opened(settings))
    return looking.log_follow(run.space.id, settings) if run else iter(())


def _start(settings: Settings, options: RunOptions) -> None:
    gpu.require(options.gpu, settings.visible_gpus)
    store = opened(settings)
    keys.directory(settings).mkdir(mode=0o700, parents=True, exist_ok=True)
    admission = store.admit(REF, options)
    if admission.fresh:
        choice.forget(settings)
        _give_token(settings, admission)
        _launch(settings, admission)


def _give_token(settings: Settings, admission: Admission) -> None:
    """The owner's token is made once, so that whoever was told it keeps it."""
    if plan.TOKEN_VARIABLE not in secrets.read(settings, admission.space.id):
        secrets.add(settings, admission.space.id, {plan.TOKEN_VARIABLE: random.token_urlsafe(32)})


def _launch(settings: Settings, admission: Admission) -> None:
    space = admission.space
    job = Job(
        space_id=space.id, run_id=admission.run_id, ref=space.ref, options=space.options, settings=settings, user=None
    )
    log = settings.space(space.id).logs / "shim.log"
    try:
        start_shim(job, log)
    except (OSError, subprocess.SubprocessError) as error:
        stopping.stop(space.id, settings)
        raise LaunchError(f"The process that runs the core did not start: {error}", hint=f"See {log}.") from error


def run_of(store: Store) -> Run | None:
    """The core's current or last run."""
    return next((run for run in store.runs() if run.space.ref.kind is RefKind.CORE), None)


def status_of(run: Run, settings: Settings) -> CoreStatus:
    """What a face shows of it."""
    seen, chosen = run.status, choice.read(settings)
    return CoreStatus(
        stage=seen.stage,
        url=seen.local_url.rstrip("/") if seen.local_url else None,
        token=secrets.read(settings, run.space.id).get(plan.TOKEN_VARIABLE),
        pid=seen.pid,
        preset=chosen.preset if chosen else plan.preset_of(run.space.options),
        why=chosen.why if chosen else "",
        gpu=seen.gpu,
        started_at=seen.started_at,
        restarts=seen.restarts,
        error=seen.error,
    )
