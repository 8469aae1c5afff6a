"""The command that runs a Docker Space's container in the foreground, with few rights."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.containers.image import SPACE_LABEL, owner
from spaces_runner.containers.nouns import Container, Engine
from spaces_runner.settings import Settings
from spaces_runner.types import Finding, Gpu, Severity

RUN_LABEL = "spaces-runner.run"
PROCESSES = 8192  # threads count
LONGEST_LINE = 32 * 1024  # of a file of variables that both engines read; they stop at 64 KiB
OOM_SCORE = 800  # when memory runs out, a Space goes before its owner's other programs
# What an image needs that begins as root and becomes somebody else. Not: raw packets, device files, file capabilities,
# other roots, the audit log, all of which engines give by default.
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
CDI_DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
_TOOLKIT = ("nvidia-container-runtime-hook", "nvidia-container-toolkit", "nvidia-ctk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What the shim starts. `told`: the file of variables that the command reads from its standard input."""

    argv: tuple[str, ...]
    env: dict[str, str]
    told: bytes = b""


def labels_of(space_id: str, run_id: str, settings: Settings) -> dict[str, str]:
    """What tells one run's container from all others."""
    return {SPACE_LABEL: owner(space_id, settings), RUN_LABEL: run_id}


def describe(engine: Engine, image: str, port: int, labels: Mapping[str, str], more: tuple[str, ...]) -> Container:
    """`port`: the app's own, inside; `labels`: of `labels_of`; `more` flags: for its GPU, and the owner's."""
    flags = (
        *(word for name, value in labels.items() for word in ("--label", f"{name}={value}")),
        "--security-opt",
        "no-new-privileges",
        "--cap-drop",
        "ALL",
        *(word for name in CAPABILITIES for word in ("--cap-add", name)),
        *(_limits() if engine.limits else ()),
        "--log-driver",
        "none",  # what it prints comes to us alone
        *(("--http-proxy=false",) if engine.name == "podman" else ()),  # the owner's, maybe with a password
        *more,
    )
    return Container(engine=engine, name=f"spaces-runner-{labels[RUN_LABEL]}", flags=flags, image=image, port=port)


def command(container: Container, port: int, inside: Mapping[str, str], args: Iterable[str]) -> Command:
    """`port`: ours, on loopback; `inside`: the app's environment; `args`: in place of the image's own command.

    No value is in the command: other users can read it. Lines go through standard input; a value that no line can
    hold goes through the client's own environment, by its name.
    """
    engine = container.engine
    lines = {name: value for name, value in inside.items() if _fits(value)}
    whole = {name: value for name, value in inside.items() if name not in lines and name not in engine.env}
    argv = (
        *(sys.executable, "-I", "-S", str(Path(__file__).with_name("tied.py")), str(os.getpid())),
        *engine.command,
        "run",
        "--name",
        container.name,
        "--publish",
        f"127.0.0.1:{port}:{container.port}",
        "--env-file",
        "/dev/stdin",
        *(word for name in whole for word in ("--env", name)),
        *container.flags,
        container.image,
        *args,
    )
    told = "".join(f"{name}={value}\n" for name, value in lines.items())
    return Command(argv=argv, env={**engine.env, **whole}, told=told.encode())


def devices(engine: Engine, gpu: Gpu | None, settings: Settings) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """The flags that give a container one card, or the finding that says why it cannot have it."""
    if gpu is None:
        return (), ()
    if engine.name == "docker":
        if any(shutil.which(name, path=settings.path) for name in _TOOLKIT):
            return ("--gpus", f"device={gpu.uuid}"), ()
        return (), (_without_gpu("Install NVIDIA's Container Toolkit, and restart Docker."),)
    if _has_cdi(CDI_DIRECTORIES):
        name = gpu.uuid if gpu.uuid.startswith("MIG-") else str(gpu.index)
        return ("--device", f"nvidia.com/gpu={name}"), ()
    remedy = "Install NVIDIA's Container Toolkit, then:  sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    return (), (_without_gpu(remedy),)


def _without_gpu(remedy: str) -> Finding:
    return Finding(
        code="container-without-gpu",
        severity=Severity.WARNING,
        message="The container engine cannot hand a GPU on; the Space runs on the CPU.",
        remedy=remedy,
    )


def _has_cdi(directories: Iterable[Path]) -> bool:
    """Whether a description of this machine's GPUs is there (Container Device Interface)."""
    files = (path for folder in directories if folder.is_dir() for path in folder.iterdir())
    return any(path.suffix in (".yaml", ".json") and b"nvidia.com/gpu" in path.read_bytes() for path in files)


def _limits() -> tuple[str, ...]:
    """Memory: all but a tenth of the machine's, so that the machine itself goes on."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 9 // 10
    return ("--memory", str(memory), "--pids-limit", str(PROCESSES), "--oom-score-adj", str(OOM_SCORE))


def _fits(value: str) -> bool:
    """Whether a line can hold it."""
    return len(value.encode()) < LONGEST_LINE and not any(mark in value for mark in "\n\r")
