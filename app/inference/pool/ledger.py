"""Whose memory is whose, on the device that the core uses: what is free, less what was promised to others.

`Ledger` in tools.py is what the pool asks for; both below are what this machine has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import psutil

_GIB = 1024**3
HOST_RESERVE = 2 * _GIB  # of host memory, for everything else
CPU_RESERVE = 1 * _GIB
CUDA_RESERVE = 1 * _GIB  # activations, graphs and what the allocator holds between the lines


class Lease(Protocol):
    """The core's line in the runner's ledger of GPUs."""

    def hold(self, nbytes: int) -> None:
        """Write down how much of the GPU the core holds."""

    def promised(self) -> int:
        """Bytes of the same GPU that Spaces which are just starting were promised, and have not taken yet."""


@dataclass(frozen=True, slots=True)
class HostLedger:
    """Weights and caches in the machine's own memory. Spaces are not told: the kernel divides it."""

    def budget(self, held: int) -> int:
        return held + max(0, int(psutil.virtual_memory().available) - CPU_RESERVE)

    def host_room(self) -> int:
        return _host_room()

    def hold(self, held: int) -> None:
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaLedger:
    """Weights and caches on one GPU. Without a lease, as when a person starts the core by hand, Spaces are not told.

    Never run on a GPU so far: written after `torch.cuda.mem_get_info`'s documentation.
    """

    device: str
    lease: Lease | None = None

    def budget(self, held: int) -> int:
        import torch

        free, _ = torch.cuda.mem_get_info(self.device)
        promised = self.lease.promised() if self.lease else 0
        return held + max(0, free - promised - CUDA_RESERVE)

    def host_room(self) -> int:
        return _host_room()

    def hold(self, held: int) -> None:
        if self.lease is not None:
            self.lease.hold(held)


def _host_room() -> int:
    return max(0, int(psutil.virtual_memory().available) - HOST_RESERVE)
