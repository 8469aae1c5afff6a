"""The faults by kind: fifteen kinds, forty faults, each of which has one run in CI and ten in a soak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import (
    cards,
    cores,
    crashes,
    disks,
    families,
    kills,
    machines,
    networks,
    objects,
    ports,
    states,
    tunnels,
)
from tests.faults.world import World

ON_A_SMALL_DISK = (disks.fetching, disks.running, states.read_only)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A fault, injected into a world that it gets. It fails where what is promised of just this fault does not hold."""

    kind: str
    inject: Callable[[World], None]

    @property
    def small_disk(self) -> bool:
        """Whether the state directory is a file system of its own, which takes root."""
        return self.inject in ON_A_SMALL_DISK

    def __str__(self) -> str:
        return f"{self.kind}-{self.inject.__name__.replace('_', '-')}"


BY_KIND: dict[str, tuple[Callable[[World], None], ...]] = {
    "kill": (
        kills.app_starting,
        kills.app_running,
        kills.shim_cloning,
        kills.shim_fetching,
        kills.shim_installing,
        kills.shim_starting,
        kills.shim_running,
        kills.shim_pausing,
        kills.pipeline_cloning,
        kills.pipeline_installing,
        kills.face,
        cores.killed_while_it_answers,
    ),
    "disk": (disks.fetching, disks.running),
    "network": (
        networks.clone_dropped,
        networks.clone_stalled,
        networks.clone_refused_429,
        networks.clone_refused_503,
        networks.install_dropped,
        networks.install_stalled,
        networks.install_refused_429,
        networks.install_refused_503,
    ),
    "object": (objects.corrupt, objects.short, objects.lying),
    "crash": (crashes.loop,),
    "port": (ports.squatted_twice,),
    "gpu": (
        cards.out_of_memory_in_a_space_on_a_pretended_card,
        cards.out_of_memory_in_the_core_on_a_pretended_card,
    ),
    "launch": (families.fifty_launches,),
    "memory": (families.out_of_memory,),
    "family": (families.nasty,),
    "tunnel": (tunnels.client_killed,),
    "clock": (states.clock_jumps,),
    "state": (states.descriptors, states.read_only, states.corrupt_database),
    "client": (cores.left_in_the_middle,),
    "machine": (machines.shut_down, machines.power_cut),
}
FAULTS = tuple(Named(kind=kind, inject=inject) for kind, faults in BY_KIND.items() for inject in faults)
