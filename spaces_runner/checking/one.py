"""One Space of a check: started, waited for, asked, ended. The runner does the work; this only watches it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event

from spaces_runner import control, looking, preparation, stopping
from spaces_runner.checking.ask import Answer, ask
from spaces_runner.checking.values import Call, Failure, Order, Result, Verdict
from spaces_runner.detect import frontmatter
from spaces_runner.errors import RunnerError, SpaceBusy, UnknownSpace
from spaces_runner.ref import parse
from spaces_runner.sanitize import clean_line
from spaces_runner.settings import Settings
from spaces_runner.triage import triage
from spaces_runner.types import ErrorInfo, Sdk, Severity, SpaceStatus, Stage, Step, StepFinished

NAME = "check"  # how the names of a check's Spaces begin, which tells them from those that their owner runs
TIMED_OUT = "check_timed_out"
_LOOK_EVERY_S = 0.3
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")


def check_one(space: str, order: Order, settings: Settings, stop: Event) -> Result | None:
    """How `space` fares. None where `stop` was set before it was known; what was started is ended all the same."""
    begun = time.monotonic()
    try:
        with _started(space, order, settings) as space_id:
            looked = _look(space_id, order, settings, begun, stop)
    except RunnerError as error:
        looked = _Looked(failure=_class(error.info, ()))
    if stop.is_set():
        return None
    return _result(space, looked, begun)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What was seen of a Space while it was there."""

    status: SpaceStatus | None = None
    made: preparation.Preparation | None = None
    says: tuple[str, str] = ("", "")  # kind and version
    needed: tuple[str, ...] = ()
    answer: Answer | None = None
    failure: Failure | None = None
    seconds: float | None = None  # None: until now


@contextmanager
def _started(space: str, order: Order, settings: Settings) -> Iterator[str]:
    """The id of the Space, which is stopped at the end, and removed unless it is to be kept."""
    ref = parse(space, settings)
    name = f"{NAME}-{_NO_NAME.sub('-', ref.name)}"[:40]
    request = control.Request(ref=ref, options=order.options, secrets=order.secrets, name=name)
    started = control.start(request, settings)
    if not started.fresh:
        raise SpaceBusy(f"{started.id} is being checked already.", hint="Wait for that check, or stop the Space.")
    try:
        yield started.id
    finally:
        with suppress(UnknownSpace):  # somebody removed it meanwhile
            (stopping.stop if order.keep else control.remove)(started.id, settings)


def _look(space_id: str, order: Order, settings: Settings, begun: float, stop: Event) -> _Looked:
    deadline = begun + order.timeout_s
    status = _settled(space_id, settings, deadline, stop)
    seconds = time.monotonic() - begun
    made = _made(status, settings)
    says = (made.spec.sdk.value, made.spec.sdk_version or "") if made else _says(status, settings)
    needed = tuple(_needed(status, settings))
    looked = _Looked(status=status, made=made, says=says, needed=needed, seconds=seconds)
    if status.stage is not Stage.RUNNING or status.local_url is None:
        return replace(looked, failure=_failure(status, order, space_id, settings))
    answer = ask(lambda: looking.status(space_id, settings).local_url or status.local_url or "", deadline, stop)
    seconds += answer.seconds
    if not answer.page:
        now = looking.status(space_id, settings)
        failure = _failure(now, order, space_id, settings) if now.stage.failed else _no_page(answer)
        return replace(looked, answer=answer, failure=failure, seconds=seconds)
    return replace(looked, answer=answer, seconds=seconds)


def _made(status: SpaceStatus, settings: Settings) -> preparation.Preparation | None:
    """What this run's build made; of one that did not end, an earlier run's would be told."""
    built = status.stage in (Stage.APP_STARTING, Stage.RUNNING, Stage.RUNTIME_ERROR)
    return preparation.last(settings, status.id) if built else None


def _needed(status: SpaceStatus, settings: Settings) -> Iterator[str]:
    """What apt installed, and what was found: what the resolution had to do, what the machine lacks."""
    for _, event in looking.events(status.id, settings):
        if isinstance(event, StepFinished) and event.step is Step.PACKAGES:
            yield f"apt: {event.note}"
    yield from dict.fromkeys(finding.code for finding in status.findings)


def _says(status: SpaceStatus, settings: Settings) -> tuple[str, str]:
    """Kind and version by the front matter of what was checked out: all there is of a build that failed."""
    try:
        meta = frontmatter.read((settings.space(status.id).app / "README.md").read_bytes()[: frontmatter.MAX_BYTES])
    except (OSError, RunnerError):
        return "", ""
    sdk, version = (clean_line(str(meta.get(key, "")))[:40] for key in ("sdk", "sdk_version"))
    return sdk, version


def _settled(space_id: str, settings: Settings, deadline: float, stop: Event) -> SpaceStatus:
    """The status once it runs or has failed, or time is up."""
    while True:
        status = looking.status(space_id, settings)
        going = status.stage in (Stage.BUILDING, Stage.APP_STARTING)
        if not going or time.monotonic() > deadline or stop.wait(_LOOK_EVERY_S):
            return status


def _failure(status: SpaceStatus, order: Order, space_id: str, settings: Settings) -> Failure:
    causes = [finding.code for finding in status.findings if finding.severity is Severity.ERROR]
    if status.error is not None:
        return _class(status.error, causes)
    message = f"It was still {status.stage} after {order.timeout_s:g} s."
    if not status.stage.active:
        message = f"It was {status.stage} from elsewhere."
    lines = looking.log_tail(space_id, settings, "run" if status.stage is Stage.APP_STARTING else "build", 400)
    causes += [finding.code for finding in triage(lines)]
    step = status.step.value if status.step else ""
    return Failure(error=TIMED_OUT, stage=status.stage, step=step, cause=next(iter(causes), ""), message=message)


def _class(error: ErrorInfo, causes: list[str] | tuple[str, ...]) -> Failure:
    """Of an error: what was found with it, else what its own lines say; where neither is known, the last of them."""
    cause = next(iter(causes), "") or next((finding.code for finding in triage(error.lines)), "")
    step = error.step.value if error.step else ""
    message = error.message if cause or not error.lines else f"{error.message} {error.lines[-1].strip()}"
    return Failure(error=error.code, stage=error.stage, step=step, cause=cause, message=message)


def _no_page(answer: Answer) -> Failure:
    said = f"Its page answers {answer.status}." if answer.status else "Its page does not answer."
    return Failure(error="no_page", stage=Stage.RUNNING, cause=f"http-{answer.status}", message=said)


def _result(space: str, looked: _Looked, begun: float) -> Result:
    status, answer = looked.status, looked.answer
    resolution = looked.made.environment.resolution if looked.made else None
    seconds = time.monotonic() - begun if looked.seconds is None else looked.seconds
    return Result(
        space=space,
        verdict=_verdict(looked),
        seconds=round(seconds, 1),
        commit=(status.revision or "") if status else "",
        sdk=looked.says[0],
        sdk_version=(answer.version if answer else "") or looked.says[1],
        python_version=resolution.python_version if resolution else "",
        how=resolution.how if resolution else "",
        needed=looked.needed,
        call=_call(looked),
        failure=looked.failure,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _call(looked: _Looked) -> Call | None:
    answer = looked.answer
    if answer and answer.page and answer.call is None and looked.says[0] == Sdk.GRADIO:
        return Call(endpoint="", answered=False, note="there is no Gradio at its page")
    return answer.call if answer else None


def _verdict(looked: _Looked) -> Verdict:
    if looked.failure is not None:
        return Verdict.FAILED
    call = _call(looked)
    return Verdict.CALL_FAILED if call and call.endpoint and not call.answered else Verdict.STARTED
