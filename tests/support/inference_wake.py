"""A model that answers, sleeps in host memory, wakes and answers again, as the pool has it do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from app.inference.engine import Engine
from app.inference.loaded import LoadedModel
from app.inference.pool.residency import park
from tests.support.inference_models import ask, drain


@dataclass(frozen=True, slots=True)
class Slept:
    before: list[int]  # what it said
    after: list[int]
    asleep: int  # what `while_asleep` found
    nbytes: int  # of the host's memory, meanwhile
    sleep_s: float
    wake_s: float  # until it could take a request again


def slept(engine: Engine, loaded: LoadedModel, while_asleep: Callable[[], int] = lambda: 0) -> Slept:
    before = _said(engine)
    begun = time.perf_counter()
    engine.suspend()
    parked = park(loaded)
    asleep_at = time.perf_counter()
    found, nbytes = while_asleep(), parked.nbytes
    waking = time.perf_counter()
    parked.restore()
    engine.resume()
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()
    awake = time.perf_counter()
    return Slept(before, _said(engine), found, nbytes, asleep_at - begun, awake - waking)


def _said(engine: Engine) -> list[int]:
    heard = ask(engine, [5, 6, 7], 12)
    drain(engine)
    return heard.tokens
