"""Which package provides which module: `data/imports.toml`, and the rule where it has no row. Standard library only."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import resources


def missing_imports(imports: Iterable[str], packages: Iterable[str], hub: bool = True) -> tuple[str, ...]:
    """The modules of `imports` that none of `packages` is known to provide. `hub`: with what a Gradio Space gets."""
    names = {canonical(name) for name in packages}
    provided = {module for name in names for module in _table()["brings"].get(name, ())}
    if hub:
        provided |= {*_table()["hub"]["modules"], *_table()["brings"]["gradio"]}
    return tuple(name for name in imports if name not in provided and not names & set(providers(name)))


def package_of(module: str) -> str:
    """The package to install for `module` (dotted or not), as far as is known."""
    return providers(module.partition(".")[0])[0]


@cache
def _table() -> dict[str, dict[str, list[str]]]:
    text = resources.files("spaces_runner").joinpath("data/imports.toml").read_text("utf-8")
    return tomllib.loads(text)


def providers(module: str) -> list[str]:
    """Packages any of which provides the top-level `module`, the one to recommend first."""
    return _table()["provided_by"].get(module) or [canonical(module)]


def canonical(name: str) -> str:
    """The form in which names of packages are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
