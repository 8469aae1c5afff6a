"""The tools of this machine: weights as the loader brings them, engines, the device's memory."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from functools import partial

import torch

from app.inference import weights
from app.inference.engine import Engine, Limits, kv_bytes_per_token
from app.inference.errors import NoRoom
from app.inference.loaded import LoadedModel
from app.inference.pool.ledger import CudaLedger, HostLedger, Lease
from app.inference.pool.residency import park
from app.inference.pool.tools import Ledger, OnProgress, Tools
from app.inference.types import ModelCard

CONTEXTS = 16  # an engine never has use for a cache of more than so many full contexts
PAGE_TOKENS = 16
MIN_TOKENS = 256


def tools(device: torch.device, lease: Lease | None = None) -> Tools:
    """For the CPU, or for one CUDA device."""
    cuda = device.type == "cuda"
    ledger: Ledger = CudaLedger(device=device, lease=lease) if cuda else HostLedger()
    return Tools(
        device=str(device),
        estimate=partial(_estimate, device),
        load=partial(_load, device),
        make_engine=make_engine,
        park=park if cuda else None,
        release=_release,
        ledger=ledger,
    )


def make_engine(loaded: LoadedModel, kv_bytes: int) -> Engine:
    """An engine whose cache takes `kv_bytes` at most, and no more than it can use. Raises NoRoom."""
    each = kv_bytes_per_token(loaded)
    tokens = min(kv_bytes // each, CONTEXTS * loaded.context) // PAGE_TOKENS * PAGE_TOKENS
    if tokens < min(MIN_TOKENS, loaded.context):
        raise NoRoom(
            f"The weights leave {kv_bytes / 1024**2:.0f} MiB for the text that is being worked on, "
            f"which is {tokens} tokens.",
            hint="Take a smaller precision, or stop what else uses the device.",
        )
    try:
        return Engine(loaded, Limits(kv_tokens=tokens, page_tokens=PAGE_TOKENS))
    except torch.OutOfMemoryError as error:
        raise NoRoom(f"The device has no room for {tokens} tokens of text: {error}") from error


def _estimate(device: torch.device, cards: Sequence[ModelCard]) -> int:
    return weights.estimate(cards, device)


def _load(device: torch.device, cards: Sequence[ModelCard], on_progress: OnProgress) -> LoadedModel:
    try:
        return weights.load(cards, device, on_progress)
    except torch.OutOfMemoryError as error:
        raise NoRoom(f"The device has no room for {cards[0].title}: {error}") from error


def _release() -> None:
    gc.collect()  # modules and their hooks refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
