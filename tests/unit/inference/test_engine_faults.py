"""What goes wrong in one sequence ends that one; the others do not notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from app.inference.engine import Engine, Limits, seats
from app.inference.engine.guard import is_full
from app.inference.engine.transfer import Numbers, sent
from app.inference.errors import DeviceLost, GenerationFailed, OutOfMemory
from app.inference.faults import is_lost
from app.inference.types import Family, SamplingParams
from tests.support.inference_models import (
    IMAGE_TOKEN,
    IMAGE_TOKENS,
    ask,
    drain,
    generated,
    loaded,
    tiny_llama,
    tiny_llava,
)

pytestmark = pytest.mark.usefixtures("one_thread")

POISON = 299  # a token that the model below cannot bear


def fails_on(model: Any, met: Callable[[Tensor], bool], error: Exception) -> Any:
    """The model with a layer that raises when what it embeds is such."""

    def hook(_: Any, inputs: tuple[Tensor, ...]) -> None:
        if met(inputs[0]):
            raise error

    model.get_input_embeddings().register_forward_pre_hook(hook)
    return model


def poisoned(error: Exception) -> Any:
    return fails_on(tiny_llama(), lambda ids: bool((ids == POISON).any()), error)


@pytest.mark.parametrize(
    "error, expected",
    [(torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory), (ValueError("bad"), GenerationFailed)],
)
def test_a_prompt_that_fails_ends_alone(error: Exception, expected: type[GenerationFailed]) -> None:
    engine = Engine(loaded(poisoned(error), Family.LLAMA), Limits(kv_tokens=1024, chunk_tokens=64))
    prompts = [[5, 6, 7], [8, POISON, 9], [10] * 20, [11, 12]]
    early = ask(engine, [20, 21], 30)
    for _ in range(3):
        engine.step()
    heard = [ask(engine, prompt, 12) for prompt in prompts]
    drain(engine)
    assert type(heard[1].failed.error) is expected
    assert heard[1].ends == 1
    for prompt, one in zip(prompts, heard, strict=True):
        if POISON not in prompt:
            assert one.tokens == generated(tiny_llama(), prompt, 12)
    assert early.tokens == generated(tiny_llama(), [20, 21], 30)
    assert engine.stats.kv_tokens_used == 0


def test_what_a_failed_sequence_computed_is_not_gone_on_from() -> None:
    engine = Engine(loaded(poisoned(ValueError("bad")), Family.LLAMA), Limits(kv_tokens=1024, chunk_tokens=16))
    failed = ask(engine, [5] * 40 + [POISON], 5)
    drain(engine)
    again = ask(engine, [5] * 40, 5)
    drain(engine)
    assert failed.failed
    assert again.started.reused_tokens == 0


def test_a_model_that_always_fails_ends_them_all_and_the_engine_goes_on() -> None:
    broken = [True]
    model = fails_on(tiny_llama(), lambda _: broken[0], RuntimeError("the device is gone"))
    engine = Engine(loaded(model, Family.LLAMA), Limits(kv_tokens=1024))
    heard = [ask(engine, [5 + n], 5) for n in range(5)]
    engine.step()
    assert all(isinstance(one.failed.error, GenerationFailed) and one.ends == 1 for one in heard)
    assert "the device is gone" in heard[0].failed.error.message
    broken[0] = False
    after = ask(engine, [5, 6], 5)
    drain(engine)
    assert after.tokens == generated(tiny_llama(), [5, 6], 5)


@pytest.mark.parametrize("penalty", [1.0, 1.3])  # it fails when the seat is settled, or already while it is taken
def test_who_finds_no_memory_at_admission_leaves_the_seat(penalty: float, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [torch.OutOfMemoryError("CUDA out of memory")] * 2

    def scarce(numbers: Numbers, device: torch.device) -> Tensor:
        if failures:
            raise failures.pop()
        return sent(numbers, device)

    monkeypatch.setattr(seats, "sent", scarce)
    engine = Engine(loaded(tiny_llama(), Family.LLAMA), Limits(max_running=2, kv_tokens=1024))
    params = SamplingParams(max_tokens=5, temperature=0, repetition_penalty=penalty, ignore_eos=True)
    heard = [ask(engine, [5 + n, 6], 5, sampling=params) for n in range(6)]
    engine.step()
    assert all(isinstance(one.failed.error, OutOfMemory) and one.ends == 1 for one in heard[:2])
    assert engine.stats.running == 2
    drain(engine)
    assert [len(one.tokens) for one in heard[2:] if one.finished] == [5] * 4
    assert engine.stats.kv_tokens_used == 0


def test_a_picture_that_fails_ends_alone() -> None:
    model = tiny_llava()

    def hook(_: Any, inputs: tuple[Any, ...], given: dict[str, Any]) -> None:
        if bool(given.get("pixel_values", inputs[0] if inputs else torch.zeros(1)).isnan().any()):
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.model.vision_tower.register_forward_pre_hook(hook, with_kwargs=True)
    engine = Engine(loaded(model, Family.LLAVA), Limits(kv_tokens=1024))
    prompt = [5, *[IMAGE_TOKEN] * IMAGE_TOKENS, 7]
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    bad = ask(engine, prompt, 5, pixels=torch.full((1, 3, 56, 56), float("nan")))
    good = ask(engine, prompt, 5, pixels=pixels)
    drain(engine)
    assert isinstance(bad.failed.error, OutOfMemory)
    assert good.tokens == generated(tiny_llava(), prompt, 5, pixel_values=pixels)
    assert engine.stats.kv_tokens_used == 0


def test_scores_that_are_no_numbers_end_their_sequence_alone() -> None:
    model = tiny_llama()

    def hook(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.masked_fill((inputs[0] == POISON)[..., None], float("nan"))

    model.get_input_embeddings().register_forward_hook(hook)
    engine = Engine(loaded(model, Family.LLAMA), Limits(kv_tokens=1024, chunk_tokens=64))
    sick, well = ask(engine, [8, POISON, 9], 12), ask(engine, [5, 6, 7], 12)
    drain(engine)
    assert isinstance(sick.failed.error, GenerationFailed)
    assert "not numbers" in sick.failed.error.message
    assert len(well.tokens) == 12


ASSERT = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported.\n"


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError(ASSERT),
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    ],
)
def test_an_error_that_stays_with_the_device_is_known_by_its_words(error: Exception) -> None:
    assert is_lost(error)
    assert not is_full(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: invalid argument"),
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        torch.AcceleratorError("CUDA error: out of memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        ValueError("CUDA error: device-side assert triggered"),
        RuntimeError("a device-side assert of somebody else's"),
        RuntimeError("CUDA error: invalid argument\nFor debugging, compile for device-side assertions."),
    ],
)
def test_other_errors_leave_the_device_as_it_was(error: Exception) -> None:
    assert not is_lost(error)


def test_memory_that_cuda_itself_has_not_is_one_requests_error() -> None:
    full = torch.AcceleratorError("CUDA error: out of memory")
    engine = Engine(loaded(poisoned(full), Family.LLAMA), Limits(kv_tokens=1024, chunk_tokens=64))
    bad, good = ask(engine, [8, POISON], 5), ask(engine, [5, 6], 5)
    drain(engine)
    assert isinstance(bad.failed.error, OutOfMemory)
    assert good.finished


def test_when_the_device_is_lost_all_are_told_before_it_is_said() -> None:
    model = poisoned(torch.AcceleratorError(ASSERT))
    engine = Engine(loaded(model, Family.LLAMA), Limits(max_running=2, kv_tokens=1024, chunk_tokens=64))
    running = ask(engine, [20, 21], 30)
    for _ in range(3):
        engine.step()
    heard = [running, ask(engine, [8, POISON, 9], 5), *(ask(engine, [5 + n], 5) for n in range(3))]
    with pytest.raises(DeviceLost):
        engine.step()
    assert all(isinstance(one.failed.error, DeviceLost) and one.ends == 1 for one in heard)
    assert "device-side assert" in heard[-1].failed.error.message
    assert "asynchronously" not in heard[-1].failed.error.message
    assert engine.idle
