"""Decoding in fixed shapes: which ones, how many are recorded, and what happens when they cannot be.

What records and replays here is a stand-in that keeps the contract of a CUDA graph: the tensor it found is written anew
by each replay, and inputs are read where they were when it was recorded.
"""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from app.inference.engine import Engine, Limits, static
from app.inference.engine import machine as machines
from app.inference.engine.buckets import Block, blocks, bucket, tokens
from app.inference.engine.graphs import Step
from app.inference.errors import DeviceLost
from app.inference.families import KvShape, flat
from app.inference.pool.ledger import CUDA_RESERVE
from app.inference.types import Family
from tests.support.inference_models import ask, drain, generated, loaded, prompts, tiny_llama, tiny_mpt

pytestmark = pytest.mark.usefixtures("one_thread")


class Recorded:
    """Runs the step again in the place of a replay."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.found: Tensor = step()
        self.found.fill_(-1)  # capturing computes nothing

    def replay(self) -> None:
        self.found.copy_(self.step())


class Recorder:
    def __init__(self, error: Exception | None = None, after: int = 0) -> None:
        self.error = error
        self.after = after
        self.made = 0

    def __call__(self, step: Step) -> Recorded:
        if self.error is not None and self.made >= self.after:
            raise self.error
        self.made += 1
        return Recorded(step)


def engine_of(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, model: Any = None, **limits: Any) -> Engine:
    """An engine on the CPU that decodes as it does on CUDA."""
    decoder = static.StaticDecoder
    monkeypatch.setattr(machines, "StaticDecoder", lambda **parts: decoder(**(parts | {"record": recorder})))
    family = Family.LLAMA if model is None else Family.MPT
    given: dict[str, Any] = {"max_running": 8, "kv_tokens": 4096, "static": True} | limits
    return Engine(loaded(model or tiny_llama(), family), Limits(**given))


def test_buckets_grow_by_halves() -> None:
    assert [bucket(number) for number in (1, 2, 3, 4, 5, 7, 9, 13, 20, 30)] == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
    assert [bucket(number, 128) for number in (1, 129, 300, 500, 700)] == [128, 256, 384, 512, 768]


def test_one_long_row_does_not_pad_all_others_to_its_length() -> None:
    assert blocks([8000, *[100] * 31], 9000) == (Block(1, 8192), Block(32, 128))
    assert blocks([8000, 7000, *[100] * 30], 9000) == (Block(2, 8192), Block(32, 128))
    assert blocks([300, 200, 150, 140], 9000) == (Block(4, 384),)
    assert blocks([5], 64) == (Block(1, 64),)


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=70).map(lambda some: sorted(some, reverse=True)))
def test_blocks_hold_every_row_and_never_cost_more_than_one(lengths: list[int]) -> None:
    found = blocks(lengths, 4096)
    assert all(block.rows <= len(lengths) for block in found[:-1])
    first = 0
    for block in found:
        assert all(length <= block.longest for length in lengths[first : first + block.rows])
        first += block.rows
    assert first >= len(lengths)
    assert tokens(found) <= bucket(len(lengths)) * min(bucket(lengths[0], 128), 4096)


def test_what_is_copied_at_a_time_fits_in_the_memory_that_is_kept_free() -> None:
    seven_billion = KvShape(layers=32, heads=32, size=128)
    assert flat.AT_ONCE * seven_billion.nbytes(2) // seven_billion.layers <= CUDA_RESERVE // 2


@pytest.mark.parametrize("family", [Family.LLAMA, Family.MPT])
def test_rows_of_very_different_lengths_are_exact(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "AT_ONCE", 700)  # so that the rows of one block are copied in parts
    monkeypatch.setattr(static, "AT_ONCE", 700)
    make = tiny_mpt if family is Family.MPT else tiny_llama
    chance = random.Random(1)
    asked = [[chance.randrange(3, 290) for _ in range(length)] for length in (400, 9, 30, 4, 300, 17, 3, 8)]
    engine = engine_of(Recorder(), monkeypatch, make() if family is Family.MPT else None)
    heard = [ask(engine, prompt, 12) for prompt in asked]
    drain(engine)
    reference = make()
    assert [one.tokens for one in heard] == [generated(reference, prompt, 12) for prompt in asked]


def test_each_shape_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    engine = engine_of(recorder, monkeypatch)
    expected = [generated(tiny_llama(), prompt, 20) for prompt in prompts(6)]
    for _ in range(2):
        heard = [ask(engine, prompt, 20) for prompt in prompts(6)]
        drain(engine)
        assert [one.tokens for one in heard] == expected
    assert 1 <= recorder.made <= 3


def test_only_so_many_shapes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "MAX_GRAPHS", 1)
    recorder = Recorder()
    engine = engine_of(recorder, monkeypatch)
    for count in (1, 2, 1, 2):
        heard = [ask(engine, prompt, 6) for prompt in prompts(count)]
        drain(engine)
        assert [one.tokens for one in heard] == [generated(tiny_llama(), prompt, 6) for prompt in prompts(count)]
    assert recorder.made >= 4, "what was dropped is recorded again"


@pytest.mark.parametrize("error", [RuntimeError("capture is not permitted"), torch.OutOfMemoryError("no room")])
def test_what_cannot_be_recorded_is_run_and_said_once(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = engine_of(Recorder(error, after=1), monkeypatch)
    with caplog.at_level(logging.WARNING):
        for count in (1, 4, 8):
            heard = [ask(engine, prompt, 8) for prompt in prompts(count)]
            drain(engine)
            assert [one.tokens for one in heard] == [generated(tiny_llama(), prompt, 8) for prompt in prompts(count)]
    assert [record.message for record in caplog.records if "not recorded" in record.message] == [
        f"Steps are not recorded from here on, and take longer: {error}"
    ]


def test_a_device_that_is_lost_while_recording_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(Recorder(torch.AcceleratorError("CUDA error: device-side assert triggered")), monkeypatch)
    heard = ask(engine, [5, 6], 8)
    with pytest.raises(DeviceLost):
        drain(engine)
    assert isinstance(heard.failed.error, DeviceLost)
