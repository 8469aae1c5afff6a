"""Packages as of a past day: which day that is for a Space, and what is done where nobody knows what was there then."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from spaces_runner import compat
from spaces_runner.environment import lock
from spaces_runner.environment.attempt import Answer, Question, ask, compile_lock, options
from spaces_runner.environment.request import Request, Wishes, fitted
from spaces_runner.environment.told import few
from spaces_runner.environment.workshop import Workshop

GRACE = timedelta(days=1)  # after a release: its own dependencies are uploaded after it
ROUNDS = 3  # in which packages that are missed are exempted as they turn up; then it is the whole index's way
NO_HISTORY = timedelta(days=30)  # after Gradio's release, where nobody knows when the Space was written


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """An answer as of a past day, and the packages of it that the day could not hold for."""

    answer: Answer
    exempt: tuple[str, ...] = ()


def moment_of(request: Request, wishes: Wishes, shop: Workshop) -> str | None:
    """The moment whose packages the Space was written for: its last commit, but not before its Gradio.

    None where nobody knows it, and where it was a moment ago: those are today's packages.
    """
    committed = _moment(shop.checkout.committed_at)
    released = _released(request, wishes, shop)
    if committed is None:
        moment = released + NO_HISTORY if released else None
    else:
        moment = max(committed, released + GRACE) if released else committed
    return moment.isoformat() if moment and moment < datetime.now(UTC) - GRACE else None


def ask_as_of(question: Question, wishes: Wishes, shop: Workshop, *, wheels_only: bool = False) -> Dated:
    """The answer to `question`, whose `before` is set.

    uv leaves out all of an index that names no upload times, and nothing of a folder of wheels. So a package that is
    missed and lies on such an index is exempted, by name; and what is known of releases limits both.
    """
    day = (question.before or "")[:10]
    asked = replace(question, bounds=bounds(day, wishes))
    answer = ask(asked, shop, wheels_only=wheels_only)
    rounds = 0
    while more := (answer.missed if rounds < ROUNDS else answer.undated) - set(asked.exempt):
        shop.report.log(f"Nobody says when {few(more)} was uploaded; it may be newer than {day}")
        asked = replace(asked, exempt=(*asked.exempt, *sorted(more)))
        answer = ask(asked, shop, wheels_only=wheels_only)
        rounds += 1
    return Dated(answer=answer, exempt=asked.exempt)


def bounds(day: str, wishes: Wishes) -> tuple[str, ...]:
    """Limits from what is known of releases after `day`, where the Space's requirements leave room for them."""
    known = tuple(f"{package}{limit}" for package, limit in compat.released_by(day).items())
    return fitted(known, wishes.required)


def _released(request: Request, wishes: Wishes, shop: Workshop) -> datetime | None:
    if not wishes.version:
        return None
    line = f"{wishes.package}=={wishes.version}"
    question = Question(lines=(line,), request=replace(request, limits=(), constraints=()))
    chosen = (*options(question, shop), "--no-deps", "--no-build")
    answer = compile_lock(question.lines, chosen, shop.runners(lambda _: None))
    return _moment(lock.upload_time(answer.lock, wishes.package)) if answer.ok else None


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(microsecond=0) if moment.tzinfo else moment.replace(tzinfo=UTC)
