"""Has the core make room on a GPU for a Space that is about to start: its idle models go to sleep in host memory.

What the Space may take is promised to it in the ledger until it runs, so that the core does not take it back meanwhile.
Likewise what the core has leased for a model that it is loading is not free, though nobody has taken it yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx

from spaces_runner import gpu as gpus
from spaces_runner.core import service
from spaces_runner.core.service import CoreStatus
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import Finding, Gpu, Severity, Stage

SLEEP_S = 30.0  # for a model of 80 GB to be copied to host memory

Inventory = Callable[[], tuple[Gpu, ...]]


def make(
    run_id: str, gpu: Gpu, hardware: str | None, settings: Settings, inventory: Inventory = gpus.inventory
) -> tuple[Finding, ...]:
    """Promise the run what its author suggests, or half of the card; and have that much free, if the core can help it.

    `inventory` reads the GPUs anew. What could not be done is told, and does not keep the Space from its start.
    """
    store = Store(settings)
    wanted = gpus.needed(hardware, gpu)
    store.hold(run_id, wanted)
    core = _core_on_the_same(run_id, store, settings)
    if core is None:
        return ()
    enough = wanted or gpu.total_bytes // 2
    slept: list[str] = []
    try:
        with httpx.Client(
            base_url=core.url or "", headers={"Authorization": f"Bearer {core.token}"}, timeout=SLEEP_S, trust_env=False
        ) as client:
            for name, leased in _idle(client):
                if _free(gpu, inventory) - leased >= enough:
                    break
                client.post(f"/v1/models/{name}/sleep").raise_for_status()
                slept.append(name)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return (_no_room(error),)
    return (_made_room(slept),) if slept else ()


def _core_on_the_same(run_id: str, store: Store, settings: Settings) -> CoreStatus | None:
    """The core, where it runs and leases the GPU that this run leases."""
    neighbours = {claim.run_id for claim in store.neighbours(run_id)}
    run = service.run_of(store)
    if run is None or run.id not in neighbours or run.status.stage is not Stage.RUNNING:
        return None
    return service.status_of(run, settings)


def _idle(client: httpx.Client) -> Iterator[tuple[str, int]]:
    """Models that are resident and unused, as they are when each is asked for; and the bytes leased meanwhile."""
    asked: set[str] = set()
    while True:
        answer = client.get("/v1/models").raise_for_status()
        models = answer.json()["data"]
        name = next((model["id"] for model in models if _is_idle(model) and model["id"] not in asked), None)
        if name is None:
            return
        asked.add(name)
        yield name, max(int(model["promised_bytes"]) for model in models)  # one model moves at a time


def _is_idle(model: dict[str, Any]) -> bool:
    return model["residency"] == "resident" and not model["running"] and not model["waiting"]


def _free(gpu: Gpu, inventory: Inventory) -> int:
    return next((one.free_bytes for one in inventory() if one.uuid == gpu.uuid), 0)


def _made_room(slept: list[str]) -> Finding:
    return Finding(
        code="core-made-room",
        severity=Severity.INFO,
        message=f"To make room on the GPU, the inference core put to sleep: {', '.join(slept)}.",
        remedy="They wake when they are asked for, if there is room then.",
    )


def _no_room(error: Exception) -> Finding:
    return Finding(
        code="core-keeps-its-room",
        severity=Severity.WARNING,
        message=f"The inference core was asked to make room on the GPU, and did not: {error}",
        remedy="If the Space runs out of memory, stop the core: spaces-runner core stop.",
    )
