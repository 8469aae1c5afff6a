"""Ends containers and forgets images: one run's, one Space's, those of Spaces that are gone. All may be done again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from spaces_runner.containers.container import RUN_LABEL
from spaces_runner.containers.engine import ask
from spaces_runner.containers.image import SPACE_LABEL, owner
from spaces_runner.containers.nouns import Container, Engine
from spaces_runner.settings import Settings

MARGIN_S = 1.5  # for an engine to kill what did not end when it was asked, and to say so
REMOVE_S = 5.0
IMAGES_S = 60.0  # large layers are many files


def end(container: Container, grace_s: float) -> bool:
    """TERM, KILL after `grace_s` seconds, and no more container. Whether it is gone."""
    engine, name = container.engine, container.name
    ask(engine, "stop", "-t", str(max(0, round(grace_s))), name, timeout_s=grace_s + MARGIN_S)
    return _remove(engine, (name,))


def sweep(engine: Engine, run_id: str) -> bool:
    """Kill what is left of a run whose shim is gone. Whether nothing is."""
    answer = ask(engine, "ps", "--all", "--quiet", "--filter", f"label={RUN_LABEL}={run_id}", timeout_s=REMOVE_S)
    return answer.ok and _remove(engine, answer.output.split())


def forget(engine: Engine, space_id: str, settings: Settings, *, keep: str = "") -> None:
    """Remove a Space's images but the one with the id `keep`."""
    ours = _images(engine, f"{SPACE_LABEL}={owner(space_id, settings)}")
    _remove_images(engine, [image for image in ours if image != _bare(keep)])


def leftovers(engine: Engine, settings: Settings, known: Iterable[str], *, dry_run: bool) -> list[str]:
    """The ids of images of Spaces of this state directory that are not `known`; removed unless `dry_run`."""
    kept = {owner(space_id, settings) for space_id in known}
    found = [
        image
        for image, whose in _owners(engine, _images(engine, SPACE_LABEL))
        if whose not in kept and Path(whose).parent == settings.spaces_dir
    ]
    if not dry_run:
        _remove_images(engine, found)
    return sorted(image[:12] for image in found)


def _images(engine: Engine, label: str) -> list[str]:
    """Full ids."""
    answer = ask(engine, "images", "--quiet", "--no-trunc", "--filter", f"label={label}", timeout_s=REMOVE_S)
    return list(dict.fromkeys(map(_bare, answer.output.split())))


def _owners(engine: Engine, images: Collection[str]) -> list[tuple[str, str]]:
    """Each image with what its label says."""
    if not images:
        return []
    asked = f'{{{{.Id}}}} {{{{index .Config.Labels "{SPACE_LABEL}"}}}}'
    answer = ask(engine, "image", "inspect", "--format", asked, *images, timeout_s=REMOVE_S)
    lines = (line.partition(" ") for line in answer.output.splitlines())
    return [(_bare(image), whose) for image, _, whose in lines]


def _bare(image: str) -> str:
    return image.removeprefix("sha256:")


def _remove(engine: Engine, names: Collection[str]) -> bool:
    """Whether there are none by these names any more."""
    if not names:
        return True
    at_once = (
        ("--time", "0") if engine.name == "podman" else ()
    )  # else it asks first, for ten seconds; Docker never does
    answer = ask(engine, "rm", "--force", *at_once, "--volumes", *names, timeout_s=REMOVE_S)
    return answer.ok or "no such container" in answer.complaint.lower() or "no container with" in answer.complaint


def _remove_images(engine: Engine, images: Collection[str]) -> None:
    if images:
        ask(engine, "rmi", "--force", *images, timeout_s=IMAGES_S)
