"""The arena: pages given out and taken back, prefixes found again, the least recently used let go."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inference.engine import kv
from app.inference.engine.kv import Grant, Ids, KvStore, Pages, common_prefix
from app.inference.families.base import KvShape

CPU = torch.device("cpu")
PAGE = 4


def ids(*numbers: int) -> Ids:
    return np.asarray(numbers, dtype=np.int64)


def store(tokens: int = 64, *, sharing: bool = False) -> KvStore:
    found = KvStore(shape=KvShape(layers=1, heads=1, size=2), tokens=tokens, page=PAGE, dtype=torch.float32, device=CPU)
    found.sharing = sharing
    return found


def write(kept: KvStore, grant: Grant, first: int, numbers: Ids) -> None:
    """Stand for what a model computes: each token's key is its id."""
    at = torch.from_numpy(grant.slots[first : first + len(numbers)])
    kept.arena.keys[0][0, at] = torch.from_numpy(numbers).float()[:, None]


def read(kept: KvStore, grant: Grant, tokens: int) -> list[int]:
    return [int(value) for value in kept.arena.keys[0][0, grant.place(tokens, CPU), 0]]


def reused(kept: KvStore, *numbers: int) -> int:
    """How many of these tokens are found in the arena by one who then goes away again."""
    grant = kept.admit(None, ids(*numbers), len(numbers))
    assert grant is not None
    kept.release(grant)
    return grant.reused


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 6)), max_size=60))
def test_a_page_is_never_given_out_twice(actions: list[tuple[bool, int]]) -> None:
    pages, held = Pages(20), []
    for takes, number in actions:
        if takes and pages.free >= number:
            held.append(pages.take(number))
        elif not takes and held:
            pages.give_back(held.pop(number % len(held)))
        given_out = [page for some in held for page in some]
        assert max(Counter(given_out).values(), default=1) == 1
        assert 0 not in given_out
        assert pages.free == 20 - len(given_out)


def test_pages_come_in_one_run_where_there_is_one() -> None:
    pages = Pages(12)
    runs = [pages.take(3) for _ in range(4)]
    pages.give_back(runs[1])
    pages.give_back(runs[3])
    assert pages.take(2) == [4, 5]
    assert pages.take(3) == [10, 11, 12]
    pages.give_back(runs[0])
    assert sorted(pages.take(4)) == [1, 2, 3, 6]


def test_what_is_in_pieces_is_found_by_an_index() -> None:
    kept = store(tokens=16)
    grants = [kept.admit(None, ids(n, n, n), PAGE) for n in range(4)]
    assert all(grants)
    for grant in (grants[0], grants[2]):
        assert grant is not None
        kept.release(grant)
    pieces = kept.admit(None, ids(*range(8)), 8)
    assert pieces is not None
    write(kept, pieces, 0, ids(*range(8)))
    assert isinstance(pieces.place(3, CPU), slice)
    assert isinstance(pieces.place(8, CPU), torch.Tensor)
    assert read(kept, pieces, 8) == list(range(8))


def test_a_prefix_is_found_and_the_last_token_is_computed_anew() -> None:
    for sharing in (False, True):
        kept = store(tokens=96, sharing=sharing)
        first = kept.admit(None, ids(*range(20)), 24)
        assert first is not None
        write(kept, first, 0, ids(*range(20)))
        kept.park(None, ids(*range(20)), first)
        same = kept.admit(None, ids(*range(20)), 28)
        assert same is not None
        assert same.reused == 19
        assert read(kept, same, 19) == list(range(19))
        other = kept.admit(None, ids(*range(11), 50, 51), 20)
        assert other is not None
        assert other.reused == 11
        assert read(kept, other, 11) == list(range(11))


def test_who_goes_on_from_shared_pages_does_not_write_to_them() -> None:
    kept = store(sharing=True)
    first = kept.admit(None, ids(*range(10)), 12)
    assert first is not None
    write(kept, first, 0, ids(*range(10)))
    kept.park(None, ids(*range(10)), first)
    one, two = (kept.admit(None, ids(*range(10), 70 + n), 16) for n in range(2))
    assert one is not None
    assert two is not None
    assert one.pages[:2] == two.pages[:2]
    write(kept, one, 10, ids(70))
    write(kept, two, 10, ids(71))
    assert read(kept, one, 11) == [*range(10), 70]
    assert read(kept, two, 11) == [*range(10), 71]


def test_who_shares_pages_needs_room_for_the_others_alone() -> None:
    kept = store(tokens=256, sharing=True)
    first = kept.admit(None, ids(*range(128)), 128)
    assert first is not None
    kept.park(None, ids(*range(128)), first)
    asked = [ids(*range(128), 200 + n) for n in range(4)]
    grants = [kept.admit(None, one, 128 + 12 * PAGE) for one in asked]
    assert [grant is not None for grant in grants] == [True, True, False, False]  # 32 pages are left, for 12 each
    assert kept.used == 128 + 2 * 12 * PAGE
    assert grants[0] is not None
    kept.release(grants[0])
    third = kept.admit(None, asked[2], 128 + 12 * PAGE)
    assert third is not None
    assert third.reused == 128


def test_who_does_not_fit_in_lets_no_prefix_go() -> None:
    kept = store(tokens=64)
    for start in (0, 100):
        grant = kept.admit(None, ids(*range(start, start + 12)), 12)
        assert grant is not None
        kept.park(None, ids(*range(start, start + 12)), grant)
    running = kept.admit(None, ids(200, 201, 202), 32)
    assert running is not None
    assert kept.admit(None, ids(*range(12), 50), 36) is None
    kept.release(running)
    assert [reused(kept, *range(start, start + 12), 50) for start in (0, 100)] == [12, 12]


@pytest.mark.parametrize("sharing", [False, True])
def test_a_prefix_that_cannot_be_copied_keeps_no_room(sharing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    kept = store(sharing=sharing)
    first = kept.admit(None, ids(*range(20)), 20)
    assert first is not None
    kept.park(None, ids(*range(20)), first)
    monkeypatch.setattr(kv, "sent", scarce)
    with pytest.raises(torch.OutOfMemoryError):
        kept.admit(None, ids(*range(20)), 28)
    assert kept.used == 0
    assert kept.admit(None, ids(9), 64) is not None


def test_another_adapter_finds_nothing() -> None:
    kept = store()
    grant = kept.admit("alpaca", ids(*range(20)), 20)
    assert grant is not None
    kept.park("alpaca", ids(*range(20)), grant)
    for adapter in (None, "guanaco"):
        found = kept.admit(adapter, ids(*range(12)), 12)
        assert found is not None
        assert found.reused == 0


def test_a_few_tokens_alike_are_no_prefix_worth_it() -> None:
    kept = store()
    grant = kept.admit(None, ids(*range(20)), 20)
    assert grant is not None
    kept.park(None, ids(*range(20)), grant)
    found = kept.admit(None, ids(0, 1, 2, 90, 91), 8)
    assert found is not None
    assert found.reused == 0


def test_the_least_recently_used_makes_room() -> None:
    kept = store(tokens=60)
    for start in (0, 100, 200):
        grant = kept.admit(None, ids(*range(start, start + 20)), 20)
        assert grant is not None
        kept.park(None, ids(*range(start, start + 20)), grant)
    assert kept.used == 0
    refreshed = kept.admit(None, ids(*range(12)), 12)  # uses the first, lets the second go
    assert refreshed is not None
    assert refreshed.reused == 11
    kept.release(refreshed)
    assert [reused(kept, *range(start, start + 20)) for start in (0, 100, 200)] == [19, 0, 19]


def test_who_does_not_fit_beside_those_who_run_waits() -> None:
    kept = store(tokens=32)
    first = kept.admit(None, ids(1, 2, 3), 20)
    assert first is not None
    assert kept.used == 20
    assert kept.admit(None, ids(4, 5, 6), 16) is None
    kept.park(None, ids(1, 2, 3), first)
    assert kept.used == 0
    assert kept.admit(None, ids(4, 5, 6), 32) is not None


def test_a_source_that_is_needed_for_room_is_let_go() -> None:
    kept = store(tokens=32)
    grant = kept.admit(None, ids(*range(30)), 32)
    assert grant is not None
    kept.park(None, ids(*range(30)), grant)
    found = kept.admit(None, ids(*range(30)), 32)
    assert found is not None
    assert found.reused == 0


def test_the_next_turn_supersedes_the_one_before() -> None:
    kept = store(tokens=64)
    turns = [ids(*range(100, 112)), *(ids(*range(length)) for length in (10, 14, 18))]  # the first is another's
    for turn in turns:
        grant = kept.admit(None, turn, len(turn))
        assert grant is not None
        kept.park(None, turn, grant)
    running = kept.admit(None, ids(200, 201, 202), 32)  # what 12 and 18 leave, and 12, 10, 14 and 18 would not
    assert running is not None
    kept.release(running)
    assert reused(kept, *range(100, 112), 50) == 12


@pytest.mark.parametrize("sharing", [False, True])
def test_what_grows_keeps_what_it_has_and_lets_prefixes_go_for_it(sharing: bool) -> None:
    kept = store(tokens=32, sharing=sharing)
    parked, running = (kept.admit(None, ids(*range(start, start + 8)), 12) for start in (0, 100))
    assert parked is not None
    assert running is not None
    kept.park(None, ids(*range(8)), parked)
    write(kept, running, 0, ids(*range(100, 112)))
    grown = kept.grow(running, 25)
    assert grown is not None
    assert read(kept, grown, 12) == list(range(100, 112))
    assert len(set(grown.slots.tolist())) == len(grown.slots) == 28
    assert kept.used == 28
    assert kept.grow(grown, 33) is None
    kept.release(grown)
    assert kept.used == 0
    assert reused(kept, *range(8), 50) == 0


@settings(max_examples=60)
@given(st.data(), st.booleans())
def test_whatever_comes_and_goes_the_books_balance(data: st.DataObject, sharing: bool) -> None:
    kept = store(tokens=80, sharing=sharing)
    running: list[tuple[Ids, Grant]] = []
    for leaves in data.draw(st.lists(st.booleans(), max_size=25)):
        if running and leaves:
            tokens, grant = running.pop(data.draw(st.integers(0, len(running) - 1)))
            assert read(kept, grant, len(tokens)) == list(tokens)
            if data.draw(st.booleans()):
                kept.park(None, tokens, grant)
            else:
                kept.release(grant)
        else:
            tokens = ids(*data.draw(st.lists(st.integers(1, 2), min_size=1, max_size=30)))
            new = kept.admit(None, tokens, len(tokens))
            if new is not None:
                assert new.reused < len(tokens)
                assert read(kept, new, len(tokens))[: new.reused] == list(tokens[: new.reused])
                write(kept, new, new.reused, tokens[new.reused :])
                running.append((tokens, new))
        if running:
            tokens, grant = running.pop()
            longer = kept.grow(grant, len(grant.slots) + data.draw(st.integers(0, 9)))
            running.append((tokens, longer or grant))
        owned = {page for _, grant in running for page in grant.pages}
        assert kept.used == len(owned) * PAGE
    for _, grant in running:
        kept.release(grant)
    assert kept.used == 0
    assert kept.admit(None, ids(9), 80) is not None


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_prefixes(one: list[int], other: list[int]) -> None:
    length = common_prefix(ids(*one), ids(*other))
    assert one[:length] == other[:length]
    assert length == min(len(one), len(other)) or one[length] != other[length]
