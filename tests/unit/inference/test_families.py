"""Attention over the flat batch is the attention of transformers, in every way it is computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from app.inference.errors import ImagesNotSupported
from app.inference.families import flat, flat_model, kv_shape
from app.inference.families.flat import Alibi, Arena, ByRow, Chunk, FlatBatch, Gathered, Layer, attend, causal
from app.inference.families.mpt import slopes
from app.inference.types import Family
from tests.support.inference_models import (
    CPU,
    IMAGE_TOKENS,
    llama_config,
    loaded,
    tiny_llama,
    tiny_llava,
    tiny_mpt,
)

HEADS, SIZE = 4, 8


def reference(query: Tensor, keys: Tensor, values: Tensor, alibi: Alibi | None) -> Tensor:
    """The last `m` tokens of one sequence attend: query [heads, m, size] -> [m, heads, size]."""
    count, length = query.shape[1], keys.shape[1]
    shared = HEADS // keys.shape[0]
    keys, values = keys.repeat_interleave(shared, 0), values.repeat_interleave(shared, 0)
    scores = query @ keys.transpose(1, 2) * 0.3
    if alibi is not None:
        scores = scores + alibi.slopes[:, None, None] * torch.arange(length)
    scores = scores.masked_fill(~causal(length - count, count, CPU), float("-inf"))
    return (scores.softmax(-1) @ values).transpose(0, 1)


@pytest.mark.parametrize("way", ["rows", "index", "gathered"])
@pytest.mark.parametrize("kv_heads, biased", [(4, False), (2, False), (4, True)])
def test_rows_and_chunks_see_their_own_tokens(way: str, kv_heads: int, biased: bool) -> None:
    torch.manual_seed(0)
    alibi = Alibi(slopes(HEADS, 8)) if biased else None
    arena = Arena(keys=(torch.zeros(kv_heads, 64, SIZE),), values=(torch.zeros(kv_heads, 64, SIZE),))
    lengths = [9, 1, 17]  # two rows decode, the third sequence is computed from its fifth token on
    order = torch.randperm(63) + 1
    if way == "rows":
        order = torch.arange(1, 64)
    places = [order[:9], order[9:10], order[10:27]]
    told = [torch.randn(2, kv_heads, length, SIZE) for length in lengths]
    for place, (keys, values) in zip(places, told, strict=True):
        arena.keys[0][:, place], arena.values[0][:, place] = keys, values
    new = [(0, 8), (1, 0), (2, 4)]
    at = torch.cat([places[number][first:] for number, first in new])
    key, value = (torch.cat([told[number][part][:, first:] for number, first in new], 1) for part in (0, 1))
    arena.keys[0][:, at], arena.values[0][:, at] = 0, 0
    query = torch.randn(HEADS, len(at), SIZE)
    index = torch.zeros(2, 12, dtype=torch.int64)
    for row in range(2):
        index[row, : lengths[row]] = places[row]
    runs = [slice(int(place[0]), int(place[-1]) + 1) for place in places]
    where = runs if way == "rows" else places
    batch = FlatBatch(
        positions=torch.tensor([8, 0, *range(4, 17)]),
        slots=at,
        rows=2,
        decode=Gathered(index, torch.tensor(lengths[:2])) if way == "gathered" else ByRow(where[:2]),
        chunks=(Chunk(first=2, last=15, start=4, place=where[2], mask=causal(4, 13, CPU)),),
        arena=arena,
    )
    found = attend(batch, Layer(0, 0.3, alibi), query, key, value)
    parts = [(0, 1), (1, 2), (2, 15)]
    for (first, last), (keys, values) in zip(parts, told, strict=True):
        torch.testing.assert_close(found[first:last], reference(query[:, first:last], keys, values, alibi))


def test_a_long_bias_is_computed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    alibi = Alibi(slopes(HEADS, 16))
    keys, values, query = (torch.randn(HEADS, 20, SIZE) for _ in range(3))
    arena = Arena(keys=(torch.zeros(HEADS, 21, SIZE),), values=(torch.zeros(HEADS, 21, SIZE),))
    chunk = Chunk(first=0, last=20, start=0, place=slice(1, 21), mask=causal(0, 20, CPU))
    batch = FlatBatch(
        positions=torch.arange(20), slots=torch.arange(1, 21), rows=0, decode=None, chunks=(chunk,), arena=arena
    )
    monkeypatch.setattr(flat, "BIAS_ELEMENTS", 3 * HEADS * 20)
    found = attend(batch, Layer(0, 0.3, alibi), query, keys, values)
    torch.testing.assert_close(found, reference(query, keys, values, alibi))


def test_the_bias_grows_with_what_it_is_asked_for() -> None:
    alibi = Alibi(slopes(HEADS, 8))
    for length in (3, 50, 7, 120):
        bias = alibi.bias(length, torch.float32)
        assert bias.shape == (HEADS, 1, length)
        torch.testing.assert_close(bias[:, 0], alibi.slopes[:, None] * torch.arange(1 - length, 1))


@pytest.mark.parametrize(
    "heads, expected", [(4, [0.25, 0.0625, 0.015625, 0.00390625]), (3, [0.0625, 0.00390625, 0.25])]
)
def test_slopes_are_llm_foundrys(heads: int, expected: list[float]) -> None:
    assert slopes(heads, 8).tolist() == expected


def test_transformers_attends_alike() -> None:
    query = torch.randn(1, HEADS, 5, SIZE)
    fused = scaled_dot_product_attention(query, query, query, is_causal=True, scale=0.3)[0].transpose(0, 1)
    torch.testing.assert_close(reference(query[0], query[0], query[0], None), fused)


def test_what_a_token_takes() -> None:
    shapes = {
        Family.LLAMA: tiny_llama(num_key_value_heads=2),
        Family.MPT: tiny_mpt(heads=6),
        Family.LLAVA: tiny_llava(),
    }
    for family, model in shapes.items():
        told = kv_shape(loaded(model, family))
        assert told == flat_model(loaded(model, family)).kv
    assert kv_shape(loaded(shapes[Family.LLAMA], Family.LLAMA)).nbytes(4) == 2 * 2 * 2 * 16 * 4


def test_the_head_size_may_be_a_number_of_its_own() -> None:
    assert kv_shape(loaded(tiny_llama(head_dim=24), Family.LLAMA)).size == 24
    assert llama_config().hidden_size // 4 == 16


@pytest.mark.parametrize("family, model", [(Family.LLAMA, tiny_llama()), (Family.MPT, tiny_mpt())])
def test_models_that_read_text_alone_say_so(family: Family, model: object) -> None:
    with pytest.raises(ImagesNotSupported):
        flat_model(loaded(model, family)).pictures(torch.zeros(1, 3, 56, 56))


def test_a_picture_becomes_its_tokens() -> None:
    model = tiny_llava()
    with torch.inference_mode():
        features = flat_model(loaded(model, Family.LLAVA)).pictures(torch.randn(2, 3, 56, 56))
    assert features.shape == (2, IMAGE_TOKENS, 64)
    assert not torch.equal(features[0], features[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_long_prompt_in_half_precision_keeps_near_keys_apart(dtype: torch.dtype) -> None:
    """Seen from the end of the prompt, a bias of hundreds would round the nearest keys of an early query into one."""
    torch.manual_seed(0)
    length = 600
    alibi = Alibi(slopes(HEADS, 8))
    query, keys, values = (torch.randn(HEADS, length, SIZE).to(dtype).float() for _ in range(3))
    whole = slice(0, length)
    chunk = Chunk(first=0, last=length, start=0, place=whole, mask=causal(0, length, CPU))
    arena = Arena(
        keys=(torch.zeros(HEADS, length, SIZE, dtype=dtype),), values=(torch.zeros(HEADS, length, SIZE, dtype=dtype),)
    )
    at = torch.arange(length)
    batch = FlatBatch(positions=at, slots=at, rows=0, decode=None, chunks=(chunk,), arena=arena)
    found = attend(batch, Layer(0, 0.3, alibi), query.to(dtype), keys.to(dtype), values.to(dtype)).float()
    apart = (found - reference(query, keys, values, alibi)).abs()
    assert apart[:200].mean() < 1.5 * apart[400:].mean() + 1e-3
