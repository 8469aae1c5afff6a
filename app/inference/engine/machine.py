"""What an engine holds on the device, made and let go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.inference.engine.admission import Admission
from app.inference.engine.detokenise import Decode
from app.inference.engine.graphs import CudaRecorder
from app.inference.engine.guard import is_full
from app.inference.engine.kv import KvStore
from app.inference.engine.lora import Route
from app.inference.engine.runner import Runner
from app.inference.engine.seats import Seats
from app.inference.engine.static import StaticDecoder
from app.inference.engine.types import Limits
from app.inference.errors import OutOfMemory
from app.inference.families.base import FlatModel
from app.inference.loaded import LoadedModel
from app.inference.types import Precision

GROWTH = 128  # tokens of an answer that room is kept for at a time, on CUDA


@dataclass(frozen=True, slots=True)
class Machine:
    store: KvStore
    seats: Seats
    admission: Admission
    runner: Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """What does not change while the engine lives."""

    loaded: LoadedModel
    model: FlatModel
    limits: Limits
    route: Route
    adapters: Mapping[str, int]
    decode: Decode


def build(plan: Blueprint) -> Machine:
    """Take memory for keys, values and tables. Raises OutOfMemory."""
    try:
        return _built(plan)
    except RuntimeError as error:
        if not is_full(error):
            raise
        tokens = plan.limits.kv_tokens
        raise OutOfMemory(f"The device has no room for the keys and values of {tokens} tokens.") from error


def _built(plan: Blueprint) -> Machine:
    loaded, limits, model = plan.loaded, plan.limits, plan.model
    store = KvStore(
        shape=model.kv, tokens=limits.kv_tokens, page=limits.page_tokens, dtype=loaded.dtype, device=loaded.device
    )
    seats = Seats(
        number=limits.max_running or (64 if loaded.device.type == "cuda" else 32),
        vocabulary=model.vocabulary,
        context=min(loaded.context + limits.page_tokens, store.capacity),
        device=loaded.device,
    )
    runner = Runner(
        model=model,
        store=store,
        seats=seats,
        route=plan.route,
        device=loaded.device,
        static=_static(plan, store, seats),
    )
    admission = Admission(
        model=model,
        store=store,
        seats=seats,
        adapters=plan.adapters,
        decode=plan.decode,
        growth=limits.growth_tokens or (GROWTH if loaded.device.type == "cuda" else None),
    )
    return Machine(store, seats, admission, runner)


def _static(plan: Blueprint, store: KvStore, seats: Seats) -> StaticDecoder | None:
    """Fixed shapes where they are wanted. Int8 products wait for the host, which a graph cannot."""
    cuda = plan.loaded.device.type == "cuda"
    wanted = plan.limits.static
    if not (cuda if wanted is None else wanted):
        return None
    return StaticDecoder(
        model=plan.model,
        arena=store.arena,
        seats=seats,
        route=plan.route,
        device=plan.loaded.device,
        gather_tokens=plan.limits.gather_tokens,
        record=CudaRecorder() if cuda and plan.loaded.precision is not Precision.INT8 else None,
    )
