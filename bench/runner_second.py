"""Part (c) of the runner's benchmark: a second Space with the same requirements, and one with one requirement more."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.results import Row
from bench.runner_stage import GRADIO, Bench, Launch
from spaces_runner import looking
from spaces_runner.types import Step, StepFinished

# Each pair adds one that the first Space's environment has not: small, without requirements, known to everyone.
MORE = ("humanize", "tabulate", "inflection", "wcwidth", "toolz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """How long a Space's environment took, and what it added to the disk.

    `step`: the pipeline's step alone; `since_paste`: from the command on; `page`: from the command to HTTP 200.
    """

    step: float
    since_paste: float
    page: float
    environments: int
    disk: int


def second(bench: Bench) -> list[Row]:
    """A second Space with the same requirements, and one with one requirement more."""
    bench.add_space("bench/first", [f"gradio=={GRADIO}"])
    bench.launch("bench/first")
    first = disk(*listing(bench.settings.environments_dir))
    same, more = [], []
    for number in range(bench.pairs):
        bench.add_space(f"bench/same-{number}", [f"gradio=={GRADIO}"])
        same.append(readied(bench, f"bench/same-{number}"))
        bench.add_space(f"bench/more-{number}", [f"gradio=={GRADIO}", MORE[number % len(MORE)]])
        more.append(readied(bench, f"bench/more-{number}"))
    grown = max(ready.disk for ready in more) / first * 100
    return [
        Row(name="(c) same requirements: new environments",
            value=sum(ready.environments for ready in same), unit="", bar="<= 0"),
        *told("(c) same requirements", same, 0.5),
        *told("(c) one requirement more", more, 6),
        Row(name="(c) one requirement more: disk grown by, at most",
            value=round(grown, 1), unit="% of the first", bar="<= 20"),
    ]  # fmt: skip


def told(what: str, ready: list[Ready], limit: float) -> list[Row]:
    """The bar is on the environment: what comes after it is the app's own start."""
    step = round(median(one.step for one in ready), 3)
    since_paste = round(median(one.since_paste for one in ready), 2)
    page = round(median(one.page for one in ready), 2)
    return [
        Row(name=f"{what}: environment ready", value=step, unit="s", bar=f"<= {limit:g}"),
        Row(name=f"{what}: paste to environment ready", value=since_paste, unit="s"),
        Row(name=f"{what}: paste to first page", value=page, unit="s"),
    ]


def readied(bench: Bench, space: str) -> Ready:
    """Launch a Space that was never there before."""
    folder = bench.settings.environments_dir
    environments, size = listing(folder), stored(bench)
    launch = bench.launch(space)
    step = environment_step(bench, launch)
    found = Ready(
        step=step.seconds,
        since_paste=step.at - launch.begun_at,
        page=launch.seconds,
        environments=len(listing(folder) - environments),
        disk=stored(bench) - size,
    )
    bench.command("stop", launch.id)
    return found


def environment_step(bench: Bench, launch: Launch) -> StepFinished:
    """The end of the step that resolves the requirements, and makes an environment for them or finds it made."""
    events = [event for _, event in looking.events(launch.id, bench.settings)]
    return next(event for event in events if isinstance(event, StepFinished) and event.step is Step.ENVIRONMENT)


def listing(folder: Path) -> set[Path]:
    """The environments that stand."""
    return {path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")}


def stored(bench: Bench) -> int:
    """Bytes on disk of all environments and of the package cache that they share files with."""
    return disk(bench.settings.environments_dir, bench.settings.uv_cache_dir.resolve())


def disk(*folders: Path) -> int:
    """Bytes on disk, each file once however many names it has."""
    seen: dict[tuple[int, int], int] = {}
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                status = Path(parent, name).lstat()
                seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())
