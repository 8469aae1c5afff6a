"""SpaceSpec -> Resolution: the exact packages, by the first rung of the ladder that holds (`ladder.py`)."""

from __future__ import annotations

from pathlib import Path

from spaces_runner import compat
from spaces_runner.environment import answers, told
from spaces_runner.environment.attempt import NVIDIA
from spaces_runner.environment.choose import interpreters
from spaces_runner.environment.ladder import Climb
from spaces_runner.environment.request import key, make, mentions, read_wishes
from spaces_runner.environment.workshop import Workshop
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, Confinement, Resolution, RunOptions, SpaceSpec


def resolve(  # noqa: PLR0913, PLR0917  # the stage's interface: all that a stage is handed
    spec: SpaceSpec,
    checkout: Checkout,
    options: RunOptions,
    settings: Settings,
    report: Reporter,
    under: Confinement,
    scratch: Path,
) -> Resolution:
    """The exact packages for a Space.

    `scratch` is an empty directory that all may enter. Raises BadRequirements, PythonMissing, Unresolvable or
    WheelBuildFailed. Nothing is installed; source packages may be built, `under` that.
    """
    shop = Workshop(settings=settings, report=report, checkout=checkout, scratch=scratch, under=under)
    wishes = read_wishes(spec, checkout)
    choice = compat.python_for(
        spec, wishes.facts(), needed=wishes.required.lines, near=mentions(spec, checkout), asked=options.python
    )
    found = interpreters(choice, settings, report)
    request = make(spec, wishes, found.first)
    name = key(request, choice, wishes, settings, _driver())
    if not options.refresh and (known := answers.recall(name, shop)):
        report.log("The requirements were resolved before")
        return known
    climb = Climb(shop=shop, spec=spec, wishes=wishes, choice=choice, request=request, interpreters=found)
    resolution = climb.run()
    if not makeshift(resolution):
        answers.remember(name, resolution, shop, shared=climb.shared)
    return resolution


def makeshift(resolution: Resolution) -> bool:
    """Whether an index that was away may have made a difference: torch may be a build that sees no GPU, say.

    Not to be remembered: it would stay so for good.
    """
    missed = {finding.code for finding in resolution.findings}
    return told.SOURCE_MISSED in missed or (NVIDIA.exists() and told.TORCH_MISSED in missed)


def _driver() -> str:
    """The NVIDIA driver: another one may want another build of torch."""
    try:
        return NVIDIA.read_text().splitlines()[0]
    except (OSError, IndexError):
        return ""
