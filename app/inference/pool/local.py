"""The tools of this machine: weights as the loader brings them, engines, the device's memory.

The libraries of the models take seconds to import: they are imported where they are used, or by `prepare`.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from app.inference.errors import NoRoom, OutOfMemory
from app.inference.loaded import LoadedModel
from app.inference.pool.ledger import CudaLedger, HostLedger, Lease
from app.inference.pool.options import MAX_WAITING
from app.inference.pool.tools import Ledger, OnProgress, Parked, Tools
from app.inference.types import ModelCard

if TYPE_CHECKING:
    from app.inference.engine import Engine

CONTEXTS = 16  # an engine never has use for a cache of more than so many full contexts
PAGE_TOKENS = {"cpu": 16, "cuda": 128}  # short pages waste little; long ones keep a graph's lookups few
MIN_TOKENS = 256


def tools(device: str, threads: int | None = None, lease: Lease | None = None) -> Tools:
    """For "cpu", or for one CUDA device, as "cuda:0". `threads`: of the CPU, to compute with; None: all cores."""
    cuda = device.startswith("cuda")
    ledger: Ledger = CudaLedger(device=device, lease=lease) if cuda else HostLedger()
    return Tools(
        device=device,
        prepare=partial(_prepare, threads),
        estimate=partial(_estimate, device),
        load=partial(_load, device),
        make_engine=make_engine,
        park=_park if cuda else None,
        release=_release,
        ledger=ledger,
    )


def make_engine(loaded: LoadedModel, kv_bytes: int) -> Engine:
    """An engine whose cache takes `kv_bytes` at most, and no more than it can use. Raises NoRoom."""
    from app.inference.engine import Engine, Limits, kv_bytes_per_token

    each, page = kv_bytes_per_token(loaded), PAGE_TOKENS[loaded.device.type]
    tokens = min(kv_bytes // each, CONTEXTS * loaded.context) // page * page
    if tokens < min(MIN_TOKENS, loaded.context):
        raise NoRoom(
            f"The weights leave {kv_bytes / 1024**2:.0f} MiB for the text that is being worked on, "
            f"which is {tokens} tokens.",
            hint="Take a smaller precision, or stop what else uses the device.",
        )
    try:
        return Engine(loaded, Limits(kv_tokens=tokens, page_tokens=page, max_waiting=MAX_WAITING))
    except OutOfMemory as error:
        raise NoRoom(error.message, hint="Take a smaller precision, or stop what else uses the device.") from error


def _prepare(threads: int | None) -> None:
    import torch

    import app.inference.engine
    import app.inference.weights  # noqa: F401  # both are named where they are used

    if threads:
        torch.set_num_threads(threads)


def _estimate(device: str, cards: Sequence[ModelCard]) -> int:
    import torch

    from app.inference import weights

    return weights.estimate(cards, torch.device(device))


def _load(device: str, cards: Sequence[ModelCard], on_progress: OnProgress) -> LoadedModel:
    import torch

    from app.inference import weights

    try:
        return weights.load(cards, torch.device(device), on_progress)
    except torch.OutOfMemoryError as error:
        raise NoRoom(f"The device has no room for {cards[0].title}: {error}") from error


def _park(loaded: LoadedModel) -> Parked:
    from app.inference.pool.residency import park

    return park(loaded)


def _release() -> None:
    import torch

    gc.collect()  # modules and their hooks refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
