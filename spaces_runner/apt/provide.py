"""The step: what packages.txt asks for and this machine lacks is installed, or its owner is told what to type."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from spaces_runner.apt import names as naming
from spaces_runner.apt.install import HINT, failure, install, update
from spaces_runner.apt.system import Done, System
from spaces_runner.errors import AptFailed
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Finding, Severity, Step

WAIT_S = 1800.0  # for another Space's packages


def provide(
    packages: tuple[str, ...], settings: Settings, report: Reporter, *, yes: bool, system: System | None = None
) -> tuple[Finding, ...]:
    """Findings about the Debian `packages` of a Space.

    With the owner's `yes`, as root and where there is apt-get, what is missing is installed, in a step of its own;
    raises AptFailed where that fails. Else a finding has the command. Nothing is asked of apt for what is here already.
    """
    system = system or System(path=settings.path)
    missing = lacking(packages, system)
    if not missing:
        return ()
    apt = system.program("apt-get")
    if not yes or os.geteuid() != 0 or apt is None:
        return (_missing(missing, system, yes=yes),)
    with report.step(Step.PACKAGES) as note:
        with _alone(settings):
            installed = _install(apt, missing, system, report)
        note.append(" ".join(installed) or "they were here by then")
    return ()


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One Space's packages at a time. Raises AptFailed where another's take too long."""
    from filelock import FileLock, Timeout  # slow to import, and most Spaces ask for no packages

    settings.home_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = FileLock(settings.home_dir / "apt.lock")
    try:
        lock.acquire(timeout=WAIT_S)
    except Timeout:
        raise AptFailed("Another Space's packages take too long to install.", hint=HINT) from None
    try:
        yield
    finally:
        lock.release()


def lacking(packages: tuple[str, ...], system: System) -> tuple[str, ...]:
    """The valid names of which neither the package nor what stands for it is installed."""
    asked = [name for name in dict.fromkeys(packages) if naming.valid(name)]
    return tuple(name for name in asked if not any(system.has(naming.bare(one)) for one in naming.alternatives(name)))


def _install(apt: str, missing: tuple[str, ...], system: System, report: Reporter) -> tuple[str, ...]:
    """What was installed, by the names that this system has for it."""
    fetched: Done | None = None
    found = _called(missing, system)
    if len(found) < len(missing):
        fetched = update(apt, system, report)
        found = _called(missing, system)
    unknown = [name for name in missing if name not in found]
    if unknown:
        message = f"packages.txt asks for {', '.join(unknown)}, which this system's package lists do not have"
        raise failure(message, fetched or Done(code=1, lines=()))
    wanted = tuple(dict.fromkeys(found[name] for name in lacking(missing, system)))
    if wanted:
        for name in missing:
            if found[name] != name:
                report.log(f"{name} is called {found[name]} here")
        install(apt, wanted, system, report)
    return wanted


def _called(packages: tuple[str, ...], system: System) -> dict[str, str]:
    """The first of each one's names that this system's package lists have; without those that they have none of."""
    ways = {name: naming.alternatives(name) for name in packages}
    known = system.known(dict.fromkeys(other for others in ways.values() for other in others))
    return {
        name: next(other for other in others if other in known) for name, others in ways.items() if known & {*others}
    }


def _missing(packages: tuple[str, ...], system: System, *, yes: bool) -> Finding:
    called = _called(packages, system)
    listed = ", ".join(packages)
    command = "sudo apt-get install --no-install-recommends " + " ".join(called.get(name, name) for name in packages)
    remedy = command
    if system.program("apt-get") is None:
        remedy = f"Install them the way your system does; on Debian:  {command}"
    elif os.geteuid() == 0 and not yes:
        remedy = f"Launch with --apt, or:  {command.removeprefix('sudo ')}"
    elif yes:
        remedy = f"--apt installs as root only. Type:  {command}"
    return Finding(
        code="system-packages",
        severity=Severity.WARNING,
        message=f"packages.txt asks for {listed}, which this machine lacks. The app may do without.",
        remedy=remedy,
    )
