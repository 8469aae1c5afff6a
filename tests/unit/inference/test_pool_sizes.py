"""How memory is divided, and which weights fit a machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.catalog import Preset
from app.inference.pool.hardware import device_of, preset_for
from app.inference.pool.sizing import CEILING, FLOOR, in_gib, kv_share
from spaces_runner.types import Gpu

GIB = 1024**3
GB = 10**9
# Bytes of the five bases of the catalogue: LLaMA with two adapters, three MPT, LLaVA.
NF4 = (int(4.2 * GB), int(3.74 * GB), int(3.74 * GB), int(3.74 * GB), int(4.5 * GB))
BF16 = (int(13.8 * GB), int(13.3 * GB), int(13.3 * GB), int(13.3 * GB), int(14.1 * GB))


def gpu(gib: float, name: str = "Card") -> Gpu:
    return Gpu(index=0, uuid="GPU-x", name=name, total_bytes=int(gib * GIB), free_bytes=int(gib * GIB))


@pytest.mark.parametrize(
    ("weights", "budget", "together"),
    [
        (BF16, 78 * GIB, 5),  # 80 GB: every model in 16 bits
        (NF4, 15 * GIB, 3),  # 16 GB: one of each family in 4 bits
        (NF4, 7 * GIB, 1),  # 8 GB: one at a time
        (NF4, 23 * GIB, 5),
        (BF16, 23 * GIB, 1),
    ],
)
def test_as_many_models_at_once_as_have_a_decent_cache(weights: tuple[int, ...], budget: int, together: int) -> None:
    share = kv_share(weights[0], weights, budget)
    assert share >= FLOOR
    fitting, left = 0, budget
    for size in sorted(weights, reverse=True):
        if size + share <= left:
            fitting, left = fitting + 1, left - size - share
    assert fitting >= together


@given(st.lists(st.integers(1, 100 * GIB), min_size=1, max_size=6), st.integers(0, 200 * GIB))
def test_weights_and_cache_never_exceed_the_budget(bases: list[int], budget: int) -> None:
    share = kv_share(bases[0], bases, budget)
    assert 0 <= share <= CEILING
    if bases[0] <= budget:
        assert bases[0] + share <= budget


def test_without_estimates_a_model_has_what_it_leaves() -> None:
    assert kv_share(GIB, (), 3 * GIB) == 2 * GIB
    assert kv_share(4 * GIB, (), 3 * GIB) == 0
    assert in_gib(3 * GIB // 2) == "1.50 GiB"


@pytest.mark.parametrize(
    ("card", "preset", "words"),
    [
        (None, Preset.DEMO, "No GPU here: the demo models"),
        (gpu(4, "GTX 1650"), Preset.DEMO, "GTX 1650 with 4 GiB is too small"),
        (gpu(8), Preset.FOUR_BIT, "in 4 bits"),
        (gpu(15, "Tesla T4"), Preset.FOUR_BIT, "Tesla T4 with 15 GiB"),
        (gpu(48), Preset.FOUR_BIT, "in 4 bits"),
        (gpu(79), Preset.FULL, "in 16 bits"),
        (gpu(141, "H200"), Preset.FULL, "H200 with 141 GiB"),
    ],
)
def test_auto_goes_by_what_the_gpu_holds_and_says_so(card: Gpu | None, preset: Preset, words: str) -> None:
    chosen, said = preset_for(card)
    assert chosen is preset
    assert words in said
    assert said.endswith(".")


def test_the_device_is_the_gpu_or_the_cpu() -> None:
    assert (device_of(None), device_of(gpu(8))) == ("cpu", "cuda:0")
