"""What differs by kind of Space, as one value a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from spaces_runner.types import Ready, SpaceSpec


class Named(Protocol):
    """The part of `Requirements` that is needed here."""

    @property
    def names(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a command is made of. `python` is the Space's own; the working directory is the Space's root."""

    python: str
    spec: SpaceSpec
    args: tuple[str, ...]  # the owner's
    variables: Mapping[str, str] = field(default_factory=dict)  # the owner's, which are public


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of Space.

    `package`: the one that sdk_version is a version of; None where no Python packages are installed at all.
    `requirement(version, bare)`: that package as the Hub's builder asks for it; `bare` without extras.
    `additions(spec, requirements, python)`: all lines that the builder adds, that package first.
    `argv`: the command, with `variables.PORT_HERE` where the shim is to put the run's port.
    `env`: variables of its own, besides those that every Space gets.
    `secrets_file`: below HOME, where its secrets are to be found as TOML besides the environment; "" for most.
    `patched`: whether launches in its source are made to share.
    `contained`: it brings an image of its own, and runs in a container.
    """

    app_file: str  # where the Space names none
    package: str | None
    argv: Callable[[Start], tuple[str, ...]]
    ready: Ready = Ready.ANSWERS
    secrets_file: str = ""
    patched: bool = False
    contained: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    requirement: Callable[[str | None, bool], str] = lambda version, bare: ""
    additions: Callable[[SpaceSpec, Named, str], tuple[str, ...]] = lambda spec, requirements, python: ()


def pinned(package: str, version: str | None) -> str:
    """`package==version`, or any version where the Space names none."""
    return f"{package}=={version}" if version else package
