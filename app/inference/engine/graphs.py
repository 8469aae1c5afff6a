"""A step recorded as a CUDA graph. **Capture and replay have never been run: no GPU was at hand.**"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Step = Callable[[], Tensor]


class Recording(Protocol):
    @property
    def found(self) -> Tensor:
        """What the step returned; each replay writes it anew."""

    def replay(self) -> None: ...


Record = Callable[[Step], Recording]


@dataclass(frozen=True, slots=True)
class CudaRecording:
    graph: torch.cuda.CUDAGraph
    found: Tensor

    def replay(self) -> None:
        self.graph.replay()


class CudaRecorder:
    """Recordings of one engine share their memory: they are never replayed at the same time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step) -> CudaRecording:
        """Run it twice beside the main stream, so that libraries set themselves up, then record it.

        Raises RuntimeError where it cannot be. Other threads may allocate meanwhile, as one that moves another model
        does: only this one is watched.
        """
        side: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch gives it no types
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            found = step()
        return CudaRecording(graph, found)
