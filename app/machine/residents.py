"""What each of the core's models takes up now, as the core says. Knows no components."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.machine.room import Held, Kind
from app.playground.client import CoreClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """Sizes in bytes. `kv`: the cache of keys and values, `kv_tokens` of which fit into `kv_bytes`."""

    name: str
    title: str
    base: str  # the weights that it stands on, which other models may share; "" where that is not known
    demo: bool
    residency: str
    device: str
    weights: int
    kv_bytes: int
    kv_tokens: int
    kv_used: int
    running: int
    waiting: int
    loading: float
    error: str

    @property
    def busy(self) -> bool:
        return self.running + self.waiting > 0


async def ask(client: CoreClient) -> tuple[Resident, ...]:
    """Every model on offer. Raises PlaygroundError where the core does not say."""
    return tuple(_resident(entry) for entry in await client.offers())


def _resident(entry: Mapping[str, Any]) -> Resident:
    """An engine that is not ours says less: then it is not known."""

    def number(key: str) -> int:
        return int(entry.get(key) or 0)

    return Resident(
        name=str(entry["id"]),
        title=str(entry.get("title") or entry["id"]),
        base=str(entry.get("base") or ""),
        demo=bool(entry.get("demo")),
        residency=str(entry.get("residency") or ""),
        device=str(entry.get("device") or ""),
        weights=number("weight_bytes"),
        kv_bytes=number("kv_bytes"),
        kv_tokens=number("kv_tokens"),
        kv_used=number("kv_tokens_used"),
        running=number("running"),
        waiting=number("waiting"),
        loading=float(entry.get("loading") or 0.0),
        error=str(entry.get("error") or ""),
    )


def held(residents: Iterable[Resident], device: str) -> list[Held]:
    """What the models hold of `device` ("cpu", "cuda:0"), each base once.

    Models of one base say the same sizes of it. Two bases in directories of the same name are told apart by those.
    """
    found: dict[tuple[str, int], list[Resident]] = {}
    for one in residents:
        if one.residency == "resident" and one.device == device:
            found.setdefault((one.base or one.name, one.weights), []).append(one)
    return [
        Held(
            name=", ".join(one.title for one in group),
            kind=Kind.BUSY_MODEL if any(one.busy for one in group) else Kind.IDLE_MODEL,
            size=group[0].weights + group[0].kv_bytes,
        )
        for group in found.values()
    ]
