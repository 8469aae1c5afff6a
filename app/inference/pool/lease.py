"""The core's line in the runner's ledger of GPUs, which launched Spaces and the core both read and write."""

from __future__ import annotations

from dataclasses import dataclass

from spaces_runner import gpu
from spaces_runner.settings import Settings
from spaces_runner.store import Store


@dataclass(frozen=True, slots=True)
class StoreLease:
    """Of the run that the core is. May be used from any thread."""

    store: Store
    run_id: str

    def hold(self, nbytes: int) -> None:
        self.store.hold(self.run_id, nbytes)

    def promised(self) -> int:
        return gpu.promised(self.store, self.run_id)


def lease_of(settings: Settings, run_id: str | None) -> StoreLease | None:
    """None for a core that a person started by hand: it is no run, and has no line in the ledger."""
    return StoreLease(Store(settings), run_id) if run_id else None
