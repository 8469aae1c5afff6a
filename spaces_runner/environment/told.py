"""What the owner is told of a resolution: findings, one function each (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from packaging.utils import canonicalize_name

from spaces_runner.compat import PythonChoice, Row
from spaces_runner.environment import lock
from spaces_runner.environment.pythons import Python
from spaces_runner.environment.request import Request, Wishes
from spaces_runner.requirements import without_password
from spaces_runner.types import Finding, Severity

SOURCE_MISSED = "package-source-unreachable"
SHOWN = 8  # names of packages in a sentence
TORCH_MISSED = "torch-index-unreachable"

_PIN = "Pin the versions that work in requirements.txt to be independent of this."


def few(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    known = sorted(names)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more


def python_differs(choice: PythonChoice, python: Python) -> Iterator[Finding]:
    """Where the Space's Python, or all that suit it, could not be had."""
    wanted = choice.versions[0]
    minors = [".".join(version.split(".")[:2]) for version in choice.versions]
    if python.minor not in minors:
        yield Finding(
            code="python-nearest",
            severity=Severity.WARNING,
            message=f"Python {wanted} is not on this machine and could not be fetched; {python.version} is used.",
            remedy=f"Install it: uv python install {wanted} (why this one: {choice.source.rstrip('.')}).",
        )
    elif choice.asked and wanted.count(".") == 2 and wanted != python.version:
        yield Finding(
            code="python-patch-differs",
            severity=Severity.INFO,
            message=f"Python {wanted} is not on this machine; {python.version} is used.",
            remedy=f"uv python install {wanted}, if the difference matters.",
        )


def other_python(wanted: Python, taken: Python) -> Iterator[Finding]:
    if wanted.minor != taken.minor:
        yield Finding(
            code="python-by-wheels",
            severity=Severity.INFO,
            message=f"Not all requirements fit Python {wanted.minor}; {taken.minor} is used.",
            remedy="Set python_version in README.md to be independent of this.",
        )


def limited(request: Request, wishes: Wishes, packages: tuple[lock.Package, ...]) -> Iterator[Finding]:
    """The compatibility rows for this age of Gradio that have something among today's packages to hold back."""
    names = {canonicalize_name(package.name) for package in packages}
    rows = [row for row in request.held if row.package in names]
    who = wishes.title if wishes.version else f"A {wishes.title} of that age"
    if rows:
        yield Finding(
            code="compat-limits",
            severity=Severity.INFO,
            message=f"{who} needs packages of its time: {', '.join(row.requirement for row in rows)}.",
            remedy=_PIN,
            lines=tuple(f"{row.requirement}: {row.reason} ({row.source})" for row in rows),
        )


def overruled(rows: Iterable[Row], wishes: Wishes) -> Iterator[Finding]:
    """What the Space's own requirements ask for against what is known to work."""
    for row in rows:
        yield Finding(
            code="compat-overruled",
            severity=Severity.WARNING,
            message=f"The requirements leave no room for {row.requirement}, which {wishes.title} needs.",
            remedy=f"If the app fails, allow {row.requirement} in requirements.txt.",
            lines=(f"{row.reason} ({row.source})",),
        )


def as_of(before: str, why: str, wishes: Wishes, failed: tuple[str, ...]) -> Finding:
    """`why` the day came first; "" where it came after what `failed`."""
    reason = why or "Today's did not resolve."
    when = "when the Space was last changed" if wishes.committed else f"when {wishes.title} was new"
    return Finding(
        code="resolved-as-of-date",
        severity=Severity.WARNING,
        message=f"The packages are those of {before[:10]}, {when}. {reason}",
        remedy=_PIN,
        lines=failed,
    )


def undated(names: tuple[str, ...], bounds: Iterable[str], before: str) -> Iterator[Finding]:
    """Packages that the day could not be held to, since their index does not say when they were uploaded."""
    unbound = sorted(set(names) - set(bounds))
    if unbound:
        yield Finding(
            code="undated-packages",
            severity=Severity.WARNING,
            message=f"{few(unbound)} may be newer than {before[:10]}: its index does not say how old it is.",
            remedy="Pin its version in requirements.txt.",
        )
    if bound := sorted(set(names) - set(unbound)):
        yield Finding(
            code="undated-packages-limited",
            severity=Severity.INFO,
            message=f"{few(bound)}: its index does not say how old it is; known releases limit it.",
        )


def todays(failed: tuple[str, ...]) -> Iterator[Finding]:
    """After the packages of the Space's time were tried in vain."""
    if failed:
        yield Finding(
            code="resolved-today",
            severity=Severity.WARNING,
            message="The packages are today's: those of the Space's time did not resolve.",
            remedy=_PIN,
            lines=failed,
        )


def relaxed(wishes: Wishes, failed: tuple[str, ...]) -> Finding:
    return Finding(
        code="resolved-relaxed",
        severity=Severity.WARNING,
        message=f"The requirements only fit together without the limits known to be good for {wishes.title}.",
        remedy="If the app fails, pin versions of the Space's time in requirements.txt.",
        lines=failed,
    )


def legacy(wishes: Wishes, failed: tuple[str, ...]) -> Finding:
    why = f"The requirements and {wishes.package.capitalize()} do not fit together"
    if wishes.contradicted:
        pin = f"{wishes.package}=={wishes.contradicted}"
        why = f"requirements.txt pins {pin}, README.md says sdk_version {wishes.version}"
    return Finding(
        code="resolved-legacy",
        severity=Severity.WARNING,
        message=f"{why}; installed in the Hub's older order, so sdk_version wins.",
        remedy="Make requirements.txt and sdk_version agree.",
        lines=failed,
    )


def built(packages: tuple[lock.Package, ...]) -> Iterator[Finding]:
    names = [package.name for package in packages if package.origin is lock.Origin.SOURCE]
    if names:
        yield Finding(
            code="built-from-source",
            severity=Severity.INFO,
            message=f"No wheel exists for {', '.join(names)}: built here, as the Space's own user.",
            remedy="The environment is this Space's alone, since what it built is given to no other.",
        )


def source_missed(option: str) -> Finding:
    """An index or a page that the Space names besides the owner's: pip goes on without, too."""
    return Finding(
        code=SOURCE_MISSED,
        severity=Severity.WARNING,
        message=f"{without_password(option.partition(' ')[2])} could not be reached; the packages come from elsewhere.",
        remedy="If one of them is wrong, allow access to that address and launch again; requirements.txt names it.",
    )


def torch_missed(gpu: bool) -> Finding:
    """Without a GPU any build of torch will do, so then it is only worth knowing."""
    return Finding(
        code=TORCH_MISSED,
        severity=Severity.WARNING if gpu else Severity.INFO,
        message="The index of torch's builds is out of reach; torch comes from the package index.",
        remedy="If torch finds no GPU, allow access to the index of torch's builds and launch again.",
    )
