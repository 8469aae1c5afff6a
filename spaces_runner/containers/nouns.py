"""What a Docker Space runs in, as a launch plan carries it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A container engine that works: its client's command and environment."""

    name: str  # "docker" or "podman"
    command: tuple[str, ...]  # with the owner's flags for it
    env: dict[str, str]
    limits: bool = True  # it may limit memory and processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What a Docker Space runs in. `port`: the app's own, inside; `flags`: of the engine's `run`."""

    engine: Engine
    name: str
    flags: tuple[str, ...]
    image: str
    port: int
