"""The ladder for one Space: ways to ask for its packages, one after the other, until one has an answer.

today       requirements and what the Hub adds in one resolution, as the Hub builds today
as of date  the same with the packages that existed when the Space was last changed
relaxed     today's without our compatibility limits and Gradio's extras
legacy      requirements without their Gradio first, then `gradio==sdk_version` over them, as the Hub did until 2024
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from spaces_runner import compat
from spaces_runner.environment import lock, origins, told
from spaces_runner.environment.attempt import NVIDIA, Answer, Question, ask, lay_out, placed
from spaces_runner.environment.choose import Interpreters
from spaces_runner.environment.dated import ask_as_of, bounds, moment_of
from spaces_runner.environment.failure import failure, why
from spaces_runner.environment.legacy import ask_in_two_steps
from spaces_runner.environment.request import Request, Wishes, dated_first, make, projects
from spaces_runner.environment.workshop import Workshop
from spaces_runner.types import Finding, Resolution, ResolvedHow, SpaceSpec, Step

RUNGS = 4
Ask = Callable[[Request, bool], Answer]  # for a Python; whether from wheels alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one rung. `findings` are for the owner where it held."""

    name: str  # what was asked for, for people
    how: ResolvedHow
    answer: Answer
    before: str | None = None
    findings: tuple[Finding, ...] = ()


Rung = Callable[[], Iterator[Attempt]]


class Climb:
    """One run of the ladder. `shared`: the answer holds for every Space that asks the same."""

    def __init__(  # noqa: PLR0913  # all of it is needed on every rung
        self,
        *,
        shop: Workshop,
        spec: SpaceSpec,
        wishes: Wishes,
        choice: compat.PythonChoice,
        request: Request,
        interpreters: Interpreters,
    ) -> None:
        self.shop = shop
        self.spec = spec
        self.wishes = wishes
        self.choice = choice
        self.request = request
        self.interpreters = interpreters
        self.failed: list[Attempt] = []
        self.findings: list[Finding] = []
        self.shared = False
        self.copies = lay_out(projects(wishes.required), shop)
        self._known: tuple[str | None] | None = None  # the Space's moment, once it was asked for

    def run(self) -> Resolution:
        """The first rung that holds. Raises Unresolvable or WheelBuildFailed with what the first one met."""
        for attempt in self._attempts():
            answer = attempt.answer
            if answer.ok:
                resolution = self._resolution(attempt)
                self.shop.report.log(f"Resolved {len(resolution.packages)} packages ({resolution.how})")
                return resolution
            if self._leave_out(origins.besides(self.wishes.required, answer.unreachable)):
                return self.run()
            self.failed.append(attempt)
            self.shop.report.log(f"Not with {attempt.name}: {why(answer.outcome.lines)}")
            if answer.network_failed or (answer.hopeless and attempt.before is None):
                break
        raise failure(self.failed[0].answer, self.wishes, self.request)

    def _leave_out(self, source: str) -> bool:
        """Go on without `source`, an option of the requirements that leads nowhere; "" is none."""
        if not source:
            return False
        self.findings.append(told.source_missed(source))
        self.shop.report.log(f"{self.findings[-1].message} Asking again without it")
        self.wishes = replace(self.wishes, required=origins.without(self.wishes.required, source))
        self.request = make(self.spec, self.wishes, self.request.python)
        return True

    def _attempts(self) -> Iterator[Attempt]:
        rungs: tuple[Rung, ...] = (self.today, self.as_of_date, self.relaxed, self.legacy)
        if dated_first(self.wishes):
            rungs = (self.as_of_date, self.today, self.relaxed, self.legacy)
        if self.wishes.contradicted:  # on the Hub of today this ends in ResolutionImpossible
            rungs = (self.legacy,)
        for rung in rungs:
            yield from rung()

    def today(self) -> Iterator[Attempt]:
        self._note("today's packages")
        answer = self._on_some_python(
            lambda request, wheels: ask(self._question(request), self.shop, wheels_only=wheels)
        )
        self.shared = answer.ok and not (answer.built or self.request.own or self.failed or self.findings)
        yield Attempt(
            name="today's packages",
            how=ResolvedHow.JOINT,
            answer=answer,
            findings=(*told.todays(self._reasons()), *self._limits(answer)),
        )

    def as_of_date(self) -> Iterator[Attempt]:
        before = self._moment()
        if before is None:
            return
        name = f"the packages of {before[:10]}"
        exempt: tuple[str, ...] = ()

        def asked(request: Request, wheels: bool) -> Answer:
            nonlocal exempt
            dated = ask_as_of(self._question(request, before), self.wishes, self.shop, wheels_only=wheels)
            exempt = dated.exempt
            return dated.answer

        self._note(name)
        answer = self._on_some_python(asked)
        finding = told.as_of(before, dated_first(self.wishes), self.wishes, self._reasons())
        undated = told.undated(exempt, compat.released_by(before[:10]), before)
        yield Attempt(
            name=name,
            how=ResolvedHow.AS_OF_DATE,
            answer=answer,
            before=before,
            findings=(finding, *undated, *told.overruled(self.request.overruled, self.wishes)),
        )

    def relaxed(self) -> Iterator[Attempt]:
        name = "today's packages, without the compatibility limits"
        self._note(name)
        answer = ask(self._question(self.request.relaxed()), self.shop)
        finding = told.relaxed(self.wishes, self._reasons())
        yield Attempt(name=name, how=ResolvedHow.JOINT, answer=answer, findings=(finding,))

    def legacy(self) -> Iterator[Attempt]:
        lines = placed(self.wishes.without_sdk(), self.shop, self.copies)
        moments = dict.fromkeys((None, self._moment()))
        for before in reversed(moments) if dated_first(self.wishes) else moments:
            name = f"the requirements first, then {self.wishes.package.capitalize()} over them"
            name += f", of {before[:10]}" if before else ""
            self._note(name)
            limits = bounds(before[:10], self.wishes) if before else ()
            question = Question(lines=lines, request=self.request, before=before, bounds=limits)
            answer = ask_in_two_steps(question, self.shop)
            finding = told.legacy(self.wishes, self._reasons())
            yield Attempt(name=name, how=ResolvedHow.LEGACY, answer=answer, before=before, findings=(finding,))

    def _note(self, name: str) -> None:
        report = self.shop.report
        report.log(f"Resolving with Python {self.request.python.version}: {name}")
        number = len(self.failed) + 1
        report.progress(Step.ENVIRONMENT, number, max(number, RUNGS), "attempts", what=name)

    def _reasons(self) -> tuple[str, ...]:
        """Why what was tried before did not hold."""
        return tuple(f"Not with {attempt.name}: {why(attempt.answer.outcome.lines)}" for attempt in self.failed)

    def _on_some_python(self, asked: Ask) -> Answer:
        """From wheels alone, with the next Python where that could help and nobody asked for this one.

        Where no Python has all wheels, the first one builds what is missing.
        """
        if self.choice.asked:
            return asked(self.request, False)
        first: Answer | None = None
        for python in self.interpreters:
            request = make(self.spec, self.wishes, python)
            answer = asked(request, True)
            if answer.ok:
                self.request = request
                return answer
            first = first or answer
            if not answer.python_matters:
                break
            self.shop.report.log(f"Not all packages fit Python {python.version}")
        return asked(self.request, False) if first is None or first.wants_build else first

    def _question(self, request: Request, before: str | None = None) -> Question:
        lines = (*placed(request.lines, self.shop, self.copies), *request.additions)
        return Question(lines=lines, request=request, before=before)

    def _moment(self) -> str | None:
        if self._known is None:
            self._known = (moment_of(self.request, self.wishes, self.shop),)
        return self._known[0]

    def _limits(self, answer: Answer) -> tuple[Finding, ...]:
        limited = told.limited(self.request, self.wishes, lock.packages(answer.lock))
        return (*limited, *told.overruled(self.request.overruled, self.wishes))

    def _resolution(self, attempt: Attempt) -> Resolution:
        packages, python = lock.packages(attempt.answer.lock), self.request.python
        findings = [
            *told.python_differs(self.choice, python),
            *told.other_python(self.interpreters.first, python),
            *self.findings,
            *attempt.findings,
            *([told.torch_missed(NVIDIA.exists())] if attempt.answer.torch_missed else []),
            *told.built(packages),
        ]
        return Resolution(
            python=python.path,
            python_version=python.version,
            how=attempt.how,
            packages=tuple(sorted(package.requirement for package in packages)),
            lock=attempt.answer.lock,
            exclude_newer=attempt.before,
            findings=tuple(findings),
        )
