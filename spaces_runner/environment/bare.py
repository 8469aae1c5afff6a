"""For a Space that needs no packages: a Python, and nothing for it."""

from __future__ import annotations

from spaces_runner.compat import PythonChoice
from spaces_runner.environment.choose import interpreters
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Resolution, ResolvedHow

_CHOICE = PythonChoice(versions=("3.13", "3.12", "3.11"), source="the newest that is here")


def bare(settings: Settings, report: Reporter) -> Resolution:
    """No packages, for any Python of late. Raises PythonMissing."""
    python = interpreters(_CHOICE, settings, report).first
    return Resolution(python=python.path, python_version=python.version, how=ResolvedHow.JOINT, packages=(), lock="")
