"""Docker Spaces: recognised, and refused with what can be done."""

from __future__ import annotations

from spaces_runner.errors import UnsupportedSdk
from spaces_runner.sdks.kind import Kind, Start
from spaces_runner.types import SpaceSpec


def refuse(_: SpaceSpec) -> None:
    """Raises UnsupportedSdk."""
    raise UnsupportedSdk(
        "This is a docker Space, which cannot be started here.",
        hint="Run its image where there is a container engine: docker run -p 7860:7860 registry.hf.space/….",
    )


def argv(start: Start) -> tuple[str, ...]:
    """Raises UnsupportedSdk: there is no command for it."""
    refuse(start.spec)
    return ()


KIND = Kind(app_file="Dockerfile", package=None, argv=argv, refuse=refuse)
