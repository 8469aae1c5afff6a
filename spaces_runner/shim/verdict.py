"""What to say of an app that ended or never answered: the error, with the lines that matter and the cause if known."""

from __future__ import annotations

import signal

from spaces_runner.errors import AppExited, CrashLoop, NeverReady, PortTaken, ScriptFailed, ShareFailed
from spaces_runner.shim.app import Exit
from spaces_runner.types import ErrorInfo, Finding, LaunchPlan, Severity, Stage

LAST_LINES = 20
LONGEST = 300  # characters of a message
TRACEBACK_LINES = 40
NEXT_LIFE = "=== Spaces Runner starts the app again:"  # a line of the log between two lives of an app
# Exit codes that engines share. Source: the manual pages docker-run(1) and podman-run(1).
_CONTAINER_ENDED: dict[int | None, str] = {
    0: "The image's command ended without serving. Does it want another one, after --?",
    125: "The container engine could not start it, and says why. SPACES_RUNNER_CONTAINER_RUN_FLAGS changes its flags.",
    126: "The image's command cannot be run: is it executable, and made for this machine's processor?",
    127: "The image's command is not in the image.",
    137: "It was killed, perhaps for its memory: SPACES_RUNNER_CONTAINER_RUN_FLAGS='--memory …' gives it more.",
}
_TRACEBACK = "Traceback (most recent call last):"


def last_life(lines: list[str]) -> list[str]:
    """The lines since the app was last started."""
    begins = max((number for number, line in enumerate(lines) if line.startswith(NEXT_LIFE)), default=-1)
    return lines[begins + 1 :]


def last_words(lines: list[str]) -> tuple[str, ...]:
    """The lines of a log's end that say why: the last traceback with what follows, or simply the last lines."""
    told = [line for line in lines if line.strip()]
    begin = max((number for number, line in enumerate(told) if _TRACEBACK in line), default=None)
    if begin is not None and len(told) - begin <= TRACEBACK_LINES:
        return tuple(told[begin:])
    return tuple(told[-LAST_LINES:])


def exited(plan: LaunchPlan, how: Exit, lines: list[str], findings: tuple[Finding, ...]) -> ErrorInfo:
    """It ended before it answered, perhaps because it wanted a port that is taken."""
    message, hint = f"The app ended {how} before it answered", _hint(findings, _ended(plan, how))
    if findings and findings[0].code == "port-taken":
        return PortTaken(f"{message}: its port is taken.", hint=hint, lines=last_words(lines)).info
    return AppExited(f"{message}.", hint=hint, lines=last_words(lines)).info


def never_ready(plan: LaunchPlan, ports: tuple[int, ...], lines: list[str], findings: tuple[Finding, ...]) -> ErrorInfo:
    """It ran, but nothing answered in time; `ports` are those it listens on all the same."""
    seconds = plan.ready_timeout_s
    where = f" It listens on {', '.join(map(str, ports))} instead." if ports else " It listens nowhere."
    if plan.container is not None:
        where = f" Nothing answers on port {plan.container.port} in its container, which app_port names."
    return NeverReady(
        f"The app did not answer within {seconds:g} s.{where}",
        hint=_hint(findings, "A longer startup_duration_timeout in the README's front matter gives it more time."),
        lines=last_words(lines),
    ).info


def raised(trace: tuple[str, ...], findings: tuple[Finding, ...]) -> ErrorInfo:
    """Its server runs and its script does not: `trace` is the traceback."""
    what = f": {trace[-1]}" if trace else ""
    return ScriptFailed(
        f"The script raised an error when its page was opened{what}"[:LONGEST],
        hint=_hint(findings, "The lines say where. Does its page on the Hub run? Then compare --python."),
        lines=trace,
    ).info


def crash_loop(plan: LaunchPlan, count: int, how: Exit, lines: list[str], findings: tuple[Finding, ...]) -> ErrorInfo:
    return CrashLoop(
        f"The app ended {count} times in a row, the last time {how}; it is not started again.",
        hint=_hint(findings, _ended(plan, how)),
        lines=last_words(lines),
    ).info


def causes(lines: list[str], plan: LaunchPlan) -> tuple[Finding, ...]:
    """What the lines tell of the cause."""
    from spaces_runner.triage import triage  # only an app that failed needs it

    return triage(lines, sdk_version=plan.sdk_version, python_version=plan.python_version)


def crashed(how: Exit, pause: float, lines: list[str]) -> Finding:
    """It ended after it had answered, and is started again."""
    return Finding(
        code="app-crashed",
        severity=Severity.WARNING,
        message=f"The app ended {how}; it is started again in {pause:g} s.",
        lines=last_words(lines),
    )


def no_link(error: ShareFailed) -> Finding:
    return Finding(
        code=error.code, severity=Severity.WARNING, message=error.message, remedy=error.hint, lines=error.lines
    )


def unpatched(patch: str, error: str) -> Finding:
    """Something inside the Space's Python did not work as it should."""
    return Finding(code="bootstrap-failed", severity=Severity.WARNING, message=f"In the Space, {patch}: {error}")


def exported(name: str) -> Finding:
    return Finding(
        code="launched-for-it",
        severity=Severity.WARNING,
        message=f"The script ended and launched nothing; {name}, which it makes, is launched for it.",
        remedy=f"In a copy of the Space, end app_file with {name}.launch() to be independent of this.",
    )


def container_left(name: str) -> Finding:
    return Finding(
        code="container-left",
        severity=Severity.ERROR,
        message=f"The container {name} could not be removed.",
        remedy=f"Remove it by hand:  podman rm --force {name}  or the same with docker.",
    )


def survivors(pids: tuple[int, ...]) -> Finding:
    return Finding(
        code="processes-left",
        severity=Severity.ERROR,
        message=f"These processes could not be killed: {', '.join(map(str, pids))}.",
        remedy="They wait for a device or a network file system; they end when it answers, or with the machine.",
    )


def defect(error: BaseException) -> ErrorInfo:
    """A mistake of ours."""
    return ErrorInfo(
        code="internal_error",
        stage=Stage.RUNTIME_ERROR,
        step=None,
        message=f"The runner itself failed: {type(error).__name__}: {error}",
        hint="The file shim.log among the Space's logs has the details. Please report it with them.",
    )


def _ended(plan: LaunchPlan, how: Exit) -> str:
    """What to do about an app whose log tells no known cause."""
    if plan.container is not None:
        return _CONTAINER_ENDED.get(how.code, "The cause is the app's own: its log has the rest.")
    if how.code == 0:
        return "The script ended without serving. Is app_file the right one? Does it want arguments, after --?"
    if how.signal == signal.SIGKILL:
        return (
            "Somebody killed it, most often the kernel because the memory was used up; dmesg tells. Free some, or give "
            "it less to do."
        )
    return "The cause is the app's own: its log has the rest. Does its page on the Hub run? Then compare --python."


def _hint(findings: tuple[Finding, ...], otherwise: str) -> str:
    return next((finding.remedy for finding in findings if finding.remedy), otherwise)
