"""Results as a table, for a terminal and as Markdown. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from spaces_runner.checking.values import Call, Failure, Result, Verdict
from spaces_runner.format import duration, table
from spaces_runner.sanitize import clean_line

HEADS = ("Space", "result", "sdk", "Python", "how", "time", "call", "what was needed, or why it failed")
_LONGEST = 160  # characters of a cell


def text(results: Sequence[Result]) -> list[str]:
    """Lines for a terminal, the summary last."""
    return [*table(HEADS, (row(result) for result in results)), "", summary(results)] if results else [summary(results)]


def markdown(results: Sequence[Result]) -> list[str]:
    """The same as a document's part."""
    lines = [_line(HEADS), _line(["---"] * len(HEADS)), *(_line(row(result)) for result in results)]
    return [*lines, "", summary(results), *(["", *_classes(results)] if _failures(results) else [])]


def row(result: Result) -> tuple[str, ...]:
    return (
        result.space,
        result.verdict,
        f"{result.sdk} {result.sdk_version}".strip(),
        result.python_version,
        result.how,
        duration(result.seconds),
        called(result.call),
        told(result)[:_LONGEST],
    )


def called(call: Call | None) -> str:
    """What was called, and how long it took to answer."""
    if call is None:
        return ""
    if not call.endpoint:
        return f"none: {call.note}"
    return f"{call.endpoint} {duration(call.seconds)}" if call.answered else f"{call.endpoint}: no answer"


def told(result: Result) -> str:
    if result.failure is not None:
        return f"{name(result.failure)}: {result.failure.message}"
    if result.verdict is Verdict.CALL_FAILED and result.call:
        return result.call.note
    return ", ".join(result.needed)


def name(failure: Failure) -> str:
    """The class of a failure: RUNTIME_ERROR/launch app_exited (missing-module)."""
    where = f"{failure.stage}/{failure.step}" if failure.step else failure.stage
    return f"{where} {failure.error}" + (f" ({failure.cause})" if failure.cause else "")


def summary(results: Sequence[Result]) -> str:
    """12 of 14 started, 1 of them without an answer to its call; 1 failed."""
    count = Counter(result.verdict for result in results)
    mute, failed = count[Verdict.CALL_FAILED], count[Verdict.FAILED]
    said = f"{len(results) - failed} of {len(results)} started"
    said += f", {mute} of them without an answer to the call" if mute else ""
    return said + (f"; {failed} failed" if failed else "") + "."


def _classes(results: Iterable[Result]) -> list[str]:
    """The classes of failures, the most frequent first."""
    count = Counter(name(failure) for failure in _failures(results))
    return [_line(["failure", "Spaces"]), _line(["---"] * 2), *(_line([one, str(n)]) for one, n in count.most_common())]


def _failures(results: Iterable[Result]) -> list[Failure]:
    return [result.failure for result in results if result.failure is not None]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(clean_line(cell).replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |"
