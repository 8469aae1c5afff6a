"""How memory is divided, and which weights fit a machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference import catalog
from app.inference.catalog import Preset
from app.inference.engine import kv_bytes_per_token
from app.inference.engine.machine import GROWTH
from app.inference.errors import NoRoom
from app.inference.pool.hardware import device_of, preset_for
from app.inference.pool.ledger import CUDA_RESERVE
from app.inference.pool.local import PAGE_TOKENS, make_engine
from app.inference.pool.sizing import CEILING, in_gib, kv_share
from app.inference.types import Family
from spaces_runner.types import Gpu
from tests.support.inference_models import loaded, tiny_llama

GIB, MIB = 1024**3, 1024**2
GUIDE = Path(__file__).parents[3] / "docs/how-to/own-models.md"
CONTEXT_OF_CUDA = 512 * MIB  # of a card, before anything is computed on it
PROMPT, PICTURE = 128, 576  # tokens of a request, beside its answer
KV_TOKEN = 2 * 32 * 4096 * 2  # bytes: keys and values, layers, width, 16 bits; of each of these models
BYTES = {"nf4": 1 / 2 + 1 / 64 + 4 / 64 / 256, "bf16": 2.0}  # of a quantised weight, with its scales

# The shapes of the published models, as their config.json has them: layers x (attention + MLP), embeddings and head.
LLAMA = (32 * (4 * 4096 * 4096 + 3 * 4096 * 11008), 2 * 32000 * 4096)
MPT = (32 * 12 * 4096 * 4096, 50432 * 4096)
CLIP = 24 * (4 * 1024 * 1024 + 2 * 1024 * 4096) + 3 * 14 * 14 * 1024 + 577 * 1024
ADAPTERS = 32 * (16 * 4 * 8192 + 64 * (4 * 8192 + 3 * 15104))  # rank 16 on attention; rank 64 on all seven
LLAVA = (LLAMA[0], LLAMA[1] + 2 * 64 * 4096 + CLIP + 1024 * 4096 + 4096 * 4096)


def gpu(gib: float, name: str = "Card") -> Gpu:
    return Gpu(index=0, uuid="GPU-x", name=name, total_bytes=int(gib * GIB), free_bytes=int(gib * GIB))


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """`weights`: bytes. `stream`: tokens that a request takes up when it begins to answer."""

    weights: int
    stream: int


def bases(preset: Preset) -> dict[str, Base]:
    """The bases of the catalogue, by one of their models. Adapters, embeddings and what sees are in 16 bits always."""
    each = BYTES["nf4" if preset is Preset.FOUR_BIT else "bf16"]
    answers = {card.name: min(card.defaults.max_tokens, GROWTH) for card in catalog.read(preset)}

    def base(name: str, shape: tuple[int, int], *, beside: int = 0, picture: int = 0) -> Base:
        weights = int(shape[0] * each) + 2 * (shape[1] + beside)
        return Base(weights=weights, stream=PROMPT + picture + answers[name])

    found = {name: base(name, MPT) for name in ("mpt-7b-chat", "mpt-7b-storywriter", "mpt-7b-instruct")}
    found["guanaco-7b"] = base("guanaco-7b", LLAMA, beside=ADAPTERS)
    found["llava-1.5-7b"] = base("llava-1.5-7b", LLAVA, picture=PICTURE)
    return found


def row_of(card_mib: int, preset: Preset) -> tuple[int, int, dict[str, int]]:
    """How many bases are there at once on a card, tokens of the cache of each, and requests at once in it."""
    found = bases(preset)
    weights = sorted((base.weights for base in found.values()), reverse=True)
    budget = card_mib * MIB - CONTEXT_OF_CUDA - CUDA_RESERVE
    share = kv_share(weights[0], weights, budget, 3)
    together = sum(sum(weights[:count]) + count * share <= budget for count in range(1, 6))
    pages = share // KV_TOKEN // (page := PAGE_TOKENS["cuda"])
    return together, pages * page, {name: pages // -(-base.stream // page) for name, base in found.items()}


def test_weights_of_the_real_shapes_are_as_published() -> None:
    in_gb = {name: round(base.weights / 10**9, 1) for name, base in bases(Preset.FULL).items()}
    assert in_gb == {
        "guanaco-7b": 13.8,
        "mpt-7b-chat": 13.3,
        "mpt-7b-instruct": 13.3,
        "mpt-7b-storywriter": 13.3,
        "llava-1.5-7b": 14.1,
    }


@pytest.mark.parametrize(
    ("card", "mib", "preset", "together", "least"),
    [
        ("8 GB", 8188, Preset.FOUR_BIT, 1, 5),
        ("15 GB (Tesla T4)", 15360, Preset.FOUR_BIT, 3, 1),  # one of each family
        ("16 GB", 16376, Preset.FOUR_BIT, 3, 2),
        ("24 GB", 24564, Preset.FOUR_BIT, 3, 8),
        ("80 GB", 81559, Preset.FULL, 5, 6),
    ],
)
def test_each_card_holds_what_the_guide_says_and_several_requests_in_each(
    card: str, mib: int, preset: Preset, together: int, least: int
) -> None:
    at_once, tokens, requests = row_of(mib, preset)
    assert at_once == together
    assert min(requests.values()) >= least, requests
    assert requests["guanaco-7b"] == requests["mpt-7b-chat"]
    told = [str(requests[name]) for name in ("guanaco-7b", "llava-1.5-7b")]
    row = f"| {card} | `{preset.value}` | {at_once} | {tokens:,} | {' | '.join(told)} |"
    assert row in GUIDE.read_text(), row


@pytest.mark.parametrize("preset", [Preset.FOUR_BIT, Preset.FULL])
def test_answers_are_as_long_as_in_the_original_demos(preset: Preset) -> None:
    assert {card.name: card.defaults.max_tokens for card in catalog.read(preset)} == {
        "alpaca-lora-7b": 128,
        "guanaco-7b": 1024,
        "mpt-7b-chat": 1536,
        "mpt-7b-instruct": 256,
        "mpt-7b-storywriter": 500,
        "llava-1.5-7b": 512,
    }


@given(st.lists(st.integers(1, 100 * GIB), min_size=1, max_size=6), st.integers(0, 200 * GIB), st.integers(1, 6))
def test_weights_and_cache_never_exceed_the_budget(found: list[int], budget: int, families: int) -> None:
    share = kv_share(found[0], found, budget, families)
    assert 0 <= share <= CEILING
    if found[0] <= budget:
        assert found[0] + share <= budget


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


def test_a_cache_that_the_device_has_no_memory_for_is_no_room() -> None:
    more_than_there_is = 1 << 50
    model = loaded(tiny_llama(), Family.LLAMA, context=more_than_there_is)
    with pytest.raises(NoRoom, match="no room for the keys and values"):
        make_engine(model, more_than_there_is * kv_bytes_per_token(model))
