"""A package as a packages.txt calls it → as this system may call it. Pure."""

from __future__ import annotations

import re
from functools import cache

# Debian policy 5.6.1, with an architecture and a version as apt-get takes them. No `-` at the end, which asks apt-get
# to remove the package, and neither `/` nor a leading `-`: no path, release or option is a name.
_NAME = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9.+-]*[a-z0-9.+])(?P<rest>(?::[a-z0-9-]+)?(?:=[A-Za-z0-9.+:~-]*[A-Za-z0-9.+~])?)"
)


def valid(text: str) -> bool:
    """Whether apt-get takes `text` for one package to be installed, and for nothing else."""
    return _NAME.fullmatch(text) is not None


def bare(text: str) -> str:
    """The name without architecture and version."""
    match = _NAME.fullmatch(text)
    return match["name"] if match else text


def alternatives(text: str) -> tuple[str, ...]:
    """What may stand for a valid `text`, itself first. A version goes with its name alone."""
    match = _NAME.fullmatch(text)
    if match is None:
        return ()
    architecture = match["rest"].partition("=")[0]
    others = (*_rows().get(match["name"], ()), f"{match['name']}t64")
    return (text, *(f"{name}{architecture}" for other in others for name in dict.fromkeys((other, f"{other}t64"))))


@cache
def _rows() -> dict[str, tuple[str, ...]]:
    import tomllib  # only where a package is asked for
    from importlib import resources

    text = resources.files("spaces_runner").joinpath("data/apt.toml").read_text("utf-8")
    return {name: tuple(row["instead"]) for row in tomllib.loads(text)["row"] for name in row["names"]}
