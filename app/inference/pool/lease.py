"""The core's line in the runner's ledger of GPUs, which launched Spaces and the core both read and write."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from spaces_runner import gpu
from spaces_runner.errors import StateError
from spaces_runner.settings import Settings
from spaces_runner.store import Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreLease:
    """Of the run that the core is. May be used from any thread.

    A ledger that cannot be used keeps no model from being served: what the driver says is free is known without it.
    """

    store: Store
    run_id: str

    def hold(self, nbytes: int) -> None:
        try:
            self.store.hold(self.run_id, nbytes)
        except StateError as error:
            _LOG.warning("The ledger of GPUs was not written: %s", error)

    def promised(self) -> int:
        try:
            return gpu.promised(self.store, self.run_id)
        except StateError as error:
            _LOG.warning("The ledger of GPUs was not read: %s", error)
            return 0


def lease_of(settings: Settings, run_id: str | None) -> StoreLease | None:
    """None for a core that a person started by hand: it is no run, and has no line in the ledger."""
    return StoreLease(Store(settings), run_id) if run_id else None
