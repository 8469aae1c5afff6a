"""Which container engine this machine has: Docker or Podman, whichever is there and answers."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.containers.nouns import Engine
from spaces_runner.sanitize import clean_line
from spaces_runner.settings import Settings

ANSWER_S = 10.0  # a cold Podman looks through its storage first
_QUESTIONS = {
    "docker": ("version", "--format", "{{.Server.Version}}"),
    "podman": (
        "info",
        "--format",
        "{{.Version.Version}} {{.Host.Security.Rootless}} {{.Host.CgroupsVersion}} {{.Host.CgroupManager}}",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an engine said to a command: its exit code (None: nothing in time), its output, its complaint."""

    code: int | None
    output: str
    complaint: str

    @property
    def ok(self) -> bool:
        return self.code == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The engine that works, or None, and for each that does not one sentence that says why."""

    engine: Engine | None
    version: str
    refusals: tuple[str, ...]


def find(settings: Settings) -> Found:
    """Ask each engine that is installed until one answers, ten seconds at most each."""
    refusals: list[str] = []
    for name, question in _QUESTIONS.items():
        program = shutil.which(name, path=settings.path)
        if program is None:
            continue
        engine = Engine(name=name, command=(program, *settings.container_flags), env=_environment(settings))
        answer = ask(engine, *question, timeout_s=ANSWER_S)
        words = answer.output.split()
        if answer.ok and words:
            limits = name == "docker" or _limits(words[1:])
            return Found(
                engine=Engine(name=name, command=engine.command, env=engine.env, limits=limits),
                version=words[0],
                refusals=tuple(refusals),
            )
        refusals.append(f"{name} does not answer: {_reason(answer)}")
    return Found(engine=None, version="", refusals=tuple(refusals) or ("neither Docker nor Podman is installed",))


def ask(engine: Engine, *arguments: str, timeout_s: float) -> Answer:
    """Run one of the engine's commands to its end."""
    try:
        done = subprocess.run(
            (*engine.command, *arguments),
            env=engine.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(code=None, output="", complaint=f"nothing within {timeout_s:g} s")
    except OSError as error:
        return Answer(code=None, output="", complaint=str(error))
    return Answer(code=done.returncode, output=done.stdout.strip(), complaint=done.stderr.strip())


def write_mark(engine: Engine, path: Path) -> None:
    """Write down which engine has a Space, for whoever ends or removes it later; not its environment."""
    path.touch(mode=0o600)
    path.write_text(json.dumps({"name": engine.name, "command": engine.command}))


def read_mark(path: Path, settings: Settings) -> Engine | None:
    """The engine that has a Space; None for one that has no container."""
    with suppress(FileNotFoundError, ValueError, KeyError):
        said = json.loads(path.read_text())
        return Engine(name=said["name"], command=tuple(said["command"]), env=_environment(settings))
    return None


def _environment(settings: Settings) -> dict[str, str]:
    """The client's own, no Space's: where it finds its service, its storage and the network."""
    return {"PATH": settings.path, "LANG": "C.UTF-8", **settings.container_environ}


def _limits(words: list[str]) -> bool:
    """Whether Podman may limit memory and processes: as root always, else where systemd hands cgroups (v2) on."""
    return words[:1] == ["false"] or words[1:] == ["v2", "systemd"]


def _reason(answer: Answer) -> str:
    """The line of its complaint that says most: the first that speaks of an error, else the last."""
    lines = answer.complaint.splitlines() or ["it said nothing"]
    return clean_line(next((line for line in lines if "error" in line.lower()), lines[-1]))[:300].rstrip(".")
