"""Builds the image of a Docker Space, as the Hub does: its variables are build arguments, its secrets are mounted."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.containers.buildlog import BuildLog
from spaces_runner.containers.nouns import Engine
from spaces_runner.errors import ImageBuildFailed
from spaces_runner.masking import Masker
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Step

SPACE_LABEL = "spaces-runner.space"
_SECRET = "RUNNER_S_SECRET_"  # a name of ours for each: one like PATH would lead the engine's client astray


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an image is built from. `context`: the Space's files; `scratch`: a directory of the runner's own."""

    space_id: str
    context: Path
    dockerfile: str  # relative to the context
    variables: Mapping[str, str]
    secrets: Mapping[str, str]
    scratch: Path
    anew: bool = False  # without the layers of the last build


def build(engine: Engine, recipe: Recipe, settings: Settings, report: Reporter) -> str:
    """The image's id. It has no name, so that no other Space's Dockerfile can begin with it.

    Raises ImageBuildFailed with the lines that say why.
    """
    answer = recipe.scratch / "image-id"
    names = {f"{_SECRET}{number}": name for number, name in enumerate(recipe.secrets)}
    argv = command(engine, recipe, settings, answer, names)
    env = {**engine.env, "DOCKER_BUILDKIT": "1", **{ours: recipe.secrets[name] for ours, name in names.items()}}
    log = BuildLog()
    begun = time.monotonic()
    code = _follow(argv, env, log, report)
    with suppress(FileNotFoundError):
        if code == 0 and (image := answer.read_text().strip()):
            report.log(f"The image {image.removeprefix('sha256:')[:12]} took {time.monotonic() - begun:.1f} s.")
            return image
    raise _failed(engine, code, log, recipe.secrets.values())


def command(
    engine: Engine, recipe: Recipe, settings: Settings, answer: Path, secrets: Mapping[str, str]
) -> tuple[str, ...]:
    """The engine's command. `secrets`: the variable of the client's environment that has each one's value."""
    return (
        *engine.command,
        "build",
        *(("--progress", "plain") if engine.name == "docker" else ()),
        "--label",
        f"{SPACE_LABEL}={owner(recipe.space_id, settings)}",
        *(word for name, value in recipe.variables.items() for word in ("--build-arg", f"{name}={value}")),
        *(word for ours, name in secrets.items() for word in ("--secret", f"id={name},env={ours}")),
        *(("--no-cache",) if recipe.anew else ()),
        *settings.container_build_flags,
        "--iidfile",
        str(answer),
        "--file",
        str(recipe.context / recipe.dockerfile),
        str(recipe.context),
    )


def owner(space_id: str, settings: Settings) -> str:
    """What tells a Space's image and container from those of others, and of another state directory: its own room.

    In one label, because Podman takes several filters of images for alternatives, and Docker for conditions.
    """
    return str(settings.space(space_id).root)


def _follow(argv: tuple[str, ...], env: Mapping[str, str], log: BuildLog, report: Reporter) -> int:
    """Run it to its end; its output goes to the build log, its steps are progress."""
    try:
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise ImageBuildFailed(f"The container engine cannot be started: {error}") from error
    with process:
        for line in process.stdout or ():
            report.log(line.rstrip("\n"))
            if (step := log.take(line.rstrip("\n"))) is not None:
                report.progress(Step.BUILD, step.number, step.total, "steps", step.instruction[:80])
    return process.returncode


def _failed(engine: Engine, code: int, log: BuildLog, secrets: Iterable[str]) -> ImageBuildFailed:
    masker = Masker(secrets)  # the build log has one of its own
    lines = (masker.feed("\n".join(log.lines).encode()) + masker.rest()).decode(errors="replace").split("\n")
    how = f"by signal {-code}" if code < 0 else f"with code {code}"
    where = f" at step {log.step.number} of {log.step.total}: {log.step.instruction[:120]}" if log.step else ""
    return ImageBuildFailed(f"{engine.name} build ended {how}{where}", hint=log.hint, lines=tuple(lines))
