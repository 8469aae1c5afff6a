"""SpaceSpec -> Resolution: the exact packages, by the first rung of a ladder that holds.

joint       requirements and what the Hub adds in one resolution, as the Hub builds today
as of date  the same with the packages that existed when the Space was last changed
relaxed     joint without our compatibility limits and Gradio's extras
legacy      requirements without their Gradio first, then `gradio==sdk_version` over them, as the Hub did until 2024
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spaces_runner import compat
from spaces_runner.environment import answers, lock, pythons
from spaces_runner.environment.attempt import NVIDIA, Answer, Question, ask, compile_lock, lay_out, options, placed
from spaces_runner.environment.failure import failure
from spaces_runner.environment.legacy import ask_in_two_steps
from spaces_runner.environment.pythons import Python
from spaces_runner.environment.request import Request, Wishes, dated_first, key, make, projects, read_wishes
from spaces_runner.environment.workshop import Workshop
from spaces_runner.errors import PythonMissing
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, Finding, Resolution, ResolvedHow, RunOptions, Severity, SpaceSpec, User

GRACE = timedelta(days=1)  # after a release: its own dependencies are uploaded after it
_TORCH_MISSED = "torch-index-unreachable"
NO_HISTORY = timedelta(days=30)  # after Gradio's release, where nobody knows when the Space was written


def resolve(  # noqa: PLR0913, PLR0917  # the stage's interface: all that a stage is handed
    spec: SpaceSpec,
    checkout: Checkout,
    options: RunOptions,
    settings: Settings,
    report: Reporter,
    user: User | None,
    scratch: Path,
) -> Resolution:
    """The exact packages for a Space.

    `scratch` is an empty directory that `user` may enter. Raises BadRequirements, PythonMissing, Unresolvable or
    WheelBuildFailed. Nothing is installed; source packages may be built, as `user`.
    """
    shop = Workshop(settings=settings, report=report, checkout=checkout, scratch=scratch, user=user)
    wishes = read_wishes(spec, checkout)
    choice = compat.python_for(spec, wishes.required.lines, wishes.facts, options.python)
    found = candidates(choice, settings, report)
    first = next(found)
    request = make(spec, wishes, first)
    name = key(request, choice, wishes, settings, _driver())
    if not options.refresh and (known := answers.recall(name, shop)):
        report.log("The requirements were resolved before")
        return known
    climb = Climb(shop=shop, spec=spec, wishes=wishes, choice=choice, request=request, others=found)
    resolution = climb.run()
    if not makeshift(resolution):
        answers.remember(name, resolution, shop, shared=climb.shared)
    return resolution


def makeshift(resolution: Resolution) -> bool:
    """Whether torch may be a build that sees no GPU, since the right ones' index was away.

    Not to be remembered: the GPU would stay idle for good.
    """
    return NVIDIA.exists() and any(finding.code == _TORCH_MISSED for finding in resolution.findings)


def candidates(choice: compat.PythonChoice, settings: Settings, report: Reporter) -> Iterator[Python]:
    """Interpreters for `choice`, best first. Raises PythonMissing when there is none and none can be fetched."""
    some = False
    for version in choice.versions:
        try:
            python = pythons.find(version, settings, report, fetch=choice.asked)
        except PythonMissing:
            if choice.asked:
                raise
            continue
        some = True
        yield python
    if not some:
        yield pythons.find(choice.versions[0], settings, report)


class Climb:
    """The ladder for one Space."""

    def __init__(  # noqa: PLR0913  # all of it is needed on every rung
        self,
        *,
        shop: Workshop,
        spec: SpaceSpec,
        wishes: Wishes,
        choice: compat.PythonChoice,
        request: Request,
        others: Iterator[Python],
    ) -> None:
        self.shop = shop
        self.spec = spec
        self.wishes = wishes
        self.choice = choice
        self.request = request
        self.others = others
        self.findings: list[Finding] = list(_python_findings(choice, request.python))
        self.shared = False
        self.copies = lay_out(projects(wishes.required), shop)

    def run(self) -> Resolution:
        """The first rung that holds. Raises Unresolvable or WheelBuildFailed with what the first one met."""
        report = self.shop.report
        first: Answer | None = None
        for rung in self._rungs():
            resolution, answer = rung()
            if resolution:
                report.log(f"Resolved {len(resolution.packages)} packages ({resolution.how})")
                return resolution
            first = first or answer
            if answer and (answer.network_failed or answer.hopeless):
                break
        if first is None:
            raise AssertionError("the joint rung always has an answer or is followed by one that has")
        raise failure(first, self.wishes, self.request)

    def _rungs(self) -> tuple[Callable[[], tuple[Resolution | None, Answer | None]], ...]:
        if dated_first(self.wishes):
            return self.as_of_date, self.joint, self.relaxed, self.legacy
        return self.joint, self.as_of_date, self.relaxed, self.legacy

    def joint(self) -> tuple[Resolution | None, Answer | None]:
        if self.wishes.contradicted:
            return None, None  # on the Hub this ends in ResolutionImpossible
        self.note("joint")
        answer = self._joint_answer()
        self.shared = answer.ok and not answer.built and not self.request.own
        return self._resolution(answer, ResolvedHow.JOINT), answer

    def as_of_date(self) -> tuple[Resolution | None, Answer | None]:
        before = self._date()
        if self.wishes.contradicted or before is None:
            return None, None
        self.note(f"as of {before[:10]}")
        answer = ask(self._question(self.request, before), self.shop)
        if answer.ok:
            self.findings.append(_as_of_finding(before))
        return self._resolution(answer, ResolvedHow.AS_OF_DATE, before), answer

    def relaxed(self) -> tuple[Resolution | None, Answer | None]:
        if self.wishes.contradicted:
            return None, None
        self.note("without compatibility limits")
        request = self.request.relaxed()
        answer = ask(self._question(request), self.shop)
        if answer.ok:
            self.findings.append(_RELAXED)
        return self._resolution(answer, ResolvedHow.JOINT), answer

    def legacy(self) -> tuple[Resolution | None, Answer | None]:
        lines = placed(self.wishes.required.without(self.wishes.package), self.shop, self.copies)
        answer: Answer | None = None
        for before in dict.fromkeys((None, self._date())):
            self.note("requirements first, then Gradio" + (f", as of {before[:10]}" if before else ""))
            question = Question(lines=lines, request=self.request, before=before)
            answer = ask_in_two_steps(question, self.shop)
            if answer.ok:
                self.findings.append(_legacy_finding(self.wishes))
                return self._resolution(answer, ResolvedHow.LEGACY, before), answer
        return None, answer

    def note(self, rung: str) -> None:
        self.shop.report.log(f"Resolving with Python {self.request.python.version}: {rung}")

    def _joint_answer(self) -> Answer:
        """From wheels alone, with the next Python where that could help and nobody asked for this one.

        Where no Python has all wheels, the first one builds what is missing.
        """
        if self.choice.asked:
            return ask(self._question(self.request), self.shop)
        best = self.request
        first = answer = ask(self._question(best), self.shop, wheels_only=True)
        while answer.python_matters and (python := next(self.others, None)):
            self.shop.report.log(f"Not all packages fit Python {self.request.python.version}: trying {python.version}")
            self.request = make(self.spec, self.wishes, python)
            answer = ask(self._question(self.request), self.shop, wheels_only=True)
        if answer.ok:
            self.findings += _other_python(best.python, self.request.python)
            return answer
        self.request = best
        return ask(self._question(best), self.shop) if first.wants_build else first

    def _question(self, request: Request, before: str | None = None) -> Question:
        lines = (*placed(request.lines, self.shop, self.copies), *request.additions)
        return Question(lines=lines, request=request, before=before)

    def _date(self) -> str | None:
        """The moment whose packages the Space was written for: its last commit, but not before its Gradio."""
        committed = _moment(self.shop.checkout.committed_at)
        released = self._released()
        if committed is None:
            moment = released + NO_HISTORY if released else None
        else:
            moment = max(committed, released + GRACE) if released else committed
        recent = datetime.now(UTC) - GRACE  # nothing to gain: these are today's packages
        return moment.isoformat() if moment and moment < recent else None

    def _released(self) -> datetime | None:
        if not self.wishes.version:
            return None
        package = self.wishes.package
        question = Question(lines=(f"{package}=={self.wishes.version}",), request=replace(self.request, limits=()))
        chosen = (*options(question, self.shop), "--no-deps", "--no-build")
        answer = compile_lock(question.lines, chosen, self.shop.runners(lambda _: None))
        return _moment(lock.upload_time(answer.lock, package)) if answer.ok else None

    def _resolution(self, answer: Answer, how: ResolvedHow, before: str | None = None) -> Resolution | None:
        if not answer.ok:
            return None
        findings = [*self.findings, *([_torch_finding()] if answer.torch_missed else [])]
        packages = lock.packages(answer.lock)
        findings += _own_findings(packages)
        python = self.request.python
        return Resolution(
            python=python.path,
            python_version=python.version,
            how=how,
            packages=tuple(sorted(package.requirement for package in packages)),
            lock=answer.lock,
            exclude_newer=before,
            findings=tuple(findings),
        )


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(microsecond=0) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _driver() -> str:
    """The NVIDIA driver: another one may want another build of torch."""
    try:
        return NVIDIA.read_text().splitlines()[0]
    except (OSError, IndexError):
        return ""


def _python_findings(choice: compat.PythonChoice, python: Python) -> Iterator[Finding]:
    wanted = choice.versions[0]
    if choice.asked and wanted.count(".") == 2 and wanted != python.version:
        yield Finding(
            code="python-patch-differs",
            severity=Severity.INFO,
            message=f"Python {wanted} is not on this machine; {python.version} is used.",
            remedy=f"uv python install {wanted}, if the difference matters.",
        )


def _other_python(wanted: Python, taken: Python) -> list[Finding]:
    if wanted.minor == taken.minor:
        return []
    return [
        Finding(
            code="python-by-wheels",
            severity=Severity.INFO,
            message=f"Not all requirements fit Python {wanted.minor}; {taken.minor} is used.",
            remedy="Set python_version in README.md to be independent of this.",
        )
    ]


def _own_findings(packages: tuple[lock.Package, ...]) -> list[Finding]:
    names = [package.name for package in packages if package.origin is lock.Origin.SOURCE]
    if not names:
        return []
    return [
        Finding(
            code="built-from-source",
            severity=Severity.INFO,
            message=f"No wheel exists for {', '.join(names)}: built here, as the Space's own user.",
            remedy="The environment is this Space's alone, since what it built is given to no other.",
        )
    ]


def _as_of_finding(before: str) -> Finding:
    return Finding(
        code="resolved-as-of-date",
        severity=Severity.WARNING,
        message=f"The packages are those of {before[:10]}, when the Space was last changed.",
        remedy="Pin the versions that work in requirements.txt to be independent of this.",
    )


def _legacy_finding(wishes: Wishes) -> Finding:
    name = wishes.package
    why = f"The requirements and {name.title()} do not fit together"
    if wishes.contradicted:
        why = f"requirements.txt pins {name}=={wishes.contradicted}, README.md says sdk_version {wishes.version}"
    return Finding(
        code="resolved-legacy",
        severity=Severity.WARNING,
        message=f"{why}; installed in the Hub's older order, so sdk_version wins.",
        remedy="Make requirements.txt and sdk_version agree.",
    )


_RELAXED = Finding(
    code="resolved-relaxed",
    severity=Severity.WARNING,
    message="The requirements only fit together without the limits known to be good for this Gradio.",
    remedy="If the app fails, pin versions of the Space's time in requirements.txt.",
)


def _torch_finding() -> Finding:
    """Without a GPU any build of torch will do, so then it is only worth knowing."""
    return Finding(
        code=_TORCH_MISSED,
        severity=Severity.WARNING if NVIDIA.exists() else Severity.INFO,
        message="The index of torch's builds is out of reach; torch comes from the package index.",
        remedy="If torch finds no GPU, allow access to the index of torch's builds and launch again.",
    )
