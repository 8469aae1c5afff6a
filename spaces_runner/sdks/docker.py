"""Docker Spaces: their own image, built and run by a container engine."""

from __future__ import annotations

from spaces_runner.containers.engine import find
from spaces_runner.containers.nouns import Engine
from spaces_runner.errors import EngineMissing
from spaces_runner.sdks.kind import Kind, Start
from spaces_runner.settings import Settings
from spaces_runner.types import RunOptions, SpaceRef, SpaceSpec

_INSTALL = "Install one and try again:  sudo apt-get install podman"
_REPAIR = "Start the engine's service, or try `podman info` and `docker version` by hand, and try again."


def require_engine(ref: SpaceRef, spec: SpaceSpec, options: RunOptions, settings: Settings, *, gpu: bool) -> Engine:
    """The engine that works here. Raises EngineMissing, which says why and what to do. `gpu`: there is one."""
    found = find(settings)
    if found.engine is not None:
        return found.engine
    remedy = _REPAIR if "does not answer" in found.refusals[0] else _INSTALL
    elsewhere = f"  Or run the Hub's own image where there is one:  {hub_command(ref, spec, options, gpu=gpu)}"
    raise EngineMissing(
        f"This is a Docker Space, and no container engine works here: {'; '.join(found.refusals)}.",
        hint=remedy + (elsewhere if ref.owner else ""),
    )


def hub_command(ref: SpaceRef, spec: SpaceSpec, options: RunOptions, *, gpu: bool) -> str:
    """How the image that the Hub has built is run.

    Source: https://huggingface.co/docs/hub/spaces-run-with-docker
    """
    named = sorted({*options.variables, *options.secret_names, *spec.secrets})
    words = [
        "docker run -it",
        f"-p 7860:{spec.app_port}",
        "--platform=linux/amd64",
        *(["--gpus all"] if gpu else []),
        *(f"-e {name}=…" for name in named),
        f"registry.hf.space/{subdomain(ref)}:latest",
    ]
    return " ".join(words)


def subdomain(ref: SpaceRef) -> str:
    """The Space's name in addresses of the Hub: `Owner/my_app.v2` is `owner-my-app-v2`."""
    return "".join("-" if mark in "/_." else mark for mark in ref.source.lower())


def argv(start: Start) -> tuple[str, ...]:
    """What runs in place of the image's own command: nothing, unless the owner passes arguments."""
    return start.args


KIND = Kind(app_file="Dockerfile", package=None, argv=argv, contained=True)
