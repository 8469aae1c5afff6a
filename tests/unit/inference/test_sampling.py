"""Sampling: each row by its own parameters, its random numbers by seed and step alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from app.inference.engine.sampling import (
    Draw,
    Mode,
    choose,
    keep_top_k,
    keep_top_p,
    mode,
    penalise,
    sample,
    uniform,
)
from app.inference.engine.seats import Seats
from app.inference.types import MAX_SEED, SamplingParams

CPU = torch.device("cpu")
VOCABULARY = 50


def splitmix(seed: int, number: int) -> float:
    """The same in whole numbers, as the paper has it."""

    def mixed(bits: int) -> int:
        bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
        return bits ^ (bits >> 31)

    return (mixed((mixed(seed) + (number + 1) * 0x9E3779B97F4A7C15) % 2**64) >> 40) / 2**24


@given(st.integers(0, MAX_SEED), st.integers(0, 70000))
def test_random_numbers_are_those_of_the_paper(seed: int, number: int) -> None:
    assert uniform(torch.tensor([seed]), torch.tensor([number])).item() == splitmix(seed, number)


def test_random_numbers_are_even() -> None:
    drawn = uniform(torch.arange(100).repeat_interleave(1000), torch.arange(1000).repeat(100))
    assert 0 <= drawn.min() < drawn.max() < 1
    counts = torch.histc(drawn, bins=20, min=0, max=1) / len(drawn)
    assert (counts - 0.05).abs().max() < 0.003


def scores(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3])
def test_the_penalty_is_transformers(penalty: float) -> None:
    seen_ids = torch.tensor([[3, 4, 4, 7], [1, 2, 3, 4]])
    seen = torch.zeros(2, VOCABULARY, dtype=torch.bool).scatter(1, seen_ids, value=True)
    theirs: Any = RepetitionPenaltyLogitsProcessor(penalty)
    assert torch.equal(penalise(scores(2), seen, torch.full((2, 1), penalty)), theirs(seen_ids, scores(2)))


@pytest.mark.parametrize("top_k", [1, 5, 50])
def test_top_k_is_transformers(top_k: int) -> None:
    theirs: Any = TopKLogitsWarper(top_k)
    assert torch.equal(keep_top_k(scores(3), torch.full((3,), top_k)), theirs(None, scores(3)))


@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.75, 0.99])
def test_top_p_is_transformers(top_p: float) -> None:
    theirs: Any = TopPLogitsWarper(top_p)
    kept = keep_top_p(scores(3).softmax(-1), torch.full((3,), top_p)) > 0
    assert torch.equal(kept, theirs(None, scores(3)) > -math.inf)


def test_limits_that_are_off_change_nothing() -> None:
    chances = scores(3).softmax(-1)
    assert torch.equal(keep_top_k(scores(3), torch.zeros(3, dtype=torch.int64)), scores(3))
    assert torch.equal(keep_top_p(chances, torch.ones(3)), chances)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=20), st.floats(0, 1, exclude_max=True, width=32))
def test_what_has_no_chance_is_never_chosen(weights: list[float], number: float) -> None:
    chances = torch.tensor([[*weights, 0.5, 0.0]])
    assert chances[0, choose(chances, torch.tensor([number]))] > 0


def seated(seats: Seats, params: SamplingParams, seed: int = 0, prompt: tuple[int, ...] = (1,)) -> int:
    return seats.take(params, seed, prompt)


def new_seats(number: int = 8) -> Seats:
    return Seats(number=number, vocabulary=VOCABULARY, context=4, device=CPU)


PARAMETERS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    top_p=st.sampled_from([0.5, 0.9, 1.0]),
    top_k=st.sampled_from([0, 1, 5, 100]),
    repetition_penalty=st.sampled_from([1.0, 1.2]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(PARAMETERS, min_size=2, max_size=6), st.integers(0, 20))
def test_a_row_draws_the_same_whoever_sits_beside_it(params: list[SamplingParams], number: int) -> None:
    logits = scores(len(params), seed=number)
    alone = []
    for row, one in enumerate(params):
        seats = new_seats()
        draw = Draw(
            seats=torch.tensor([seated(seats, one, seed=row)]),
            numbers=torch.tensor([number]),
            last=torch.tensor([row]),
        )
        alone.append(sample(logits[row : row + 1], seats, draw, mode(one))[0].item())
    seats, asked = new_seats(), Mode()
    for one in params:
        asked |= mode(one)
    at = torch.tensor([seated(seats, one, seed=row) for row, one in enumerate(params)])
    draw = Draw(seats=at, numbers=torch.full((len(params),), number), last=torch.arange(len(params)))
    assert sample(logits, seats, draw, asked)[0].tolist() == alone


def test_tokens_come_as_often_as_transformers_would_have_them() -> None:
    params = SamplingParams(temperature=0.7, top_k=10, top_p=0.9)
    rows = 20000
    logits = scores(1).expand(rows, -1)
    seats = new_seats()
    seat = seated(seats, params, seed=123)
    draw = Draw(seats=torch.full((rows,), seat), numbers=torch.arange(rows), last=torch.zeros(rows, dtype=torch.int64))
    tokens, _ = sample(logits, seats, draw, mode(params))
    warped: Any = scores(1)
    for warper in (TemperatureLogitsWarper(0.7), TopKLogitsWarper(10), TopPLogitsWarper(0.9)):
        warped = warper(None, warped)
    expected = warped.softmax(-1)[0]
    found = torch.bincount(tokens, minlength=VOCABULARY) / rows
    assert (found - expected).abs().max() < 0.015


def test_greedy_takes_the_likeliest_and_logprobs_are_the_models_own() -> None:
    params = SamplingParams(temperature=0, repetition_penalty=1.2)
    seats = new_seats()
    logits = scores(1)
    likeliest = int(logits.argmax())
    draw = Draw(
        seats=torch.tensor([seated(seats, params, prompt=(likeliest,))]),
        numbers=torch.tensor([0]),
        last=torch.tensor([likeliest]),
    )
    second = (likeliest + 1) % VOCABULARY
    logits[0, second] = logits.max() * 0.95
    tokens, logprobs = sample(logits, seats, draw, mode(params))
    assert tokens.item() == second
    assert torch.allclose(logprobs, logits.log_softmax(-1)[0, tokens])


def test_a_seat_remembers_nothing_of_who_sat_there_before() -> None:
    seats = new_seats(1)
    first = seated(seats, SamplingParams(temperature=2, top_k=7, repetition_penalty=1.5), prompt=(4, 5))
    seats.leave(first)
    again = seated(seats, SamplingParams(temperature=0), prompt=(6,))
    assert again == first
    assert not seats.seen[again].any()
    assert seats.top_k[again] == 1
    assert seats.penalty[again] == 1


def test_a_hair_of_warmth_is_cold() -> None:
    """A temperature that divides a score beyond all numbers chooses the likeliest token, as it would in the limit."""
    seats = new_seats()
    logits = scores(1)
    cold = SamplingParams(temperature=1e-39)
    draw = Draw(seats=torch.tensor([seated(seats, cold)]), numbers=torch.tensor([0]), last=torch.tensor([1]))
    tokens, logprobs = sample(logits, seats, draw, mode(cold))
    assert tokens.tolist() == logits.argmax(-1).tolist()
    assert logprobs.isfinite().all()


def test_scores_that_are_no_numbers_choose_a_token_there_is() -> None:
    chances = torch.full((2, 7), math.nan)
    assert (choose(chances, torch.tensor([0.0, 0.9])) < 7).all()
