"""Deficit round robin: who is served next, and where everybody stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.engine.fair import FairQueue

Entries = list[tuple[str, int]]
entries = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3000)), max_size=40)


def filled(asked: Entries, quantum: int = 512) -> FairQueue[object]:
    queue: FairQueue[object] = FairQueue(quantum)
    for number, (client, cost) in enumerate(asked):
        queue.push(client, cost, (client, number))
    return queue


def served(queue: FairQueue[object]) -> list[object]:
    return [queue.pop() for _ in range(len(queue))]


@given(entries, st.integers(1, 2000))
def test_the_order_foretold_is_the_order_served(asked: Entries, quantum: int) -> None:
    queue = filled(asked, quantum)
    foretold = list(queue.order())
    assert served(queue) == foretold


@given(entries)
def test_nobody_is_lost_and_a_client_is_served_in_order(asked: Entries) -> None:
    found = served(filled(asked))
    assert sorted(found, key=str) == sorted([(client, number) for number, (client, _) in enumerate(asked)], key=str)
    for client in "abcd":
        own = [item for item in found if item[0] == client]  # type: ignore[index]  # a pair
        assert own == sorted(own, key=lambda item: item[1])  # type: ignore[index]  # a pair


@given(st.integers(1, 400), st.integers(1, 400))
def test_while_two_wait_neither_gets_more_than_a_quantum_and_a_request_ahead(small: int, large: int) -> None:
    queue = filled([("a", small)] * 60 + [("b", large)] * 60)
    got = {"a": 0, "b": 0}
    left = {"a": 60, "b": 60}
    while all(left.values()):
        client = queue.pop()[0]  # type: ignore[index]  # a pair
        got[client] += {"a": small, "b": large}[client]
        left[client] -= 1
        if all(left.values()):
            assert abs(got["a"] - got["b"]) <= 2 * 512 + small + large


def test_one_who_asks_for_much_does_not_hold_up_the_others() -> None:
    queue = filled([("hog", 2000)] * 10 + [("guest", 100)])
    assert list(queue.order()).index(("guest", 10)) == 0


def test_whose_turn_it_is_keeps_it() -> None:
    queue = filled([("a", 5000)])
    assert queue.peek() == ("a", 0)
    queue.push("b", 1, "quick")
    assert queue.peek() == ("a", 0)
    assert list(queue.order()) == [("a", 0), "quick"]


@given(entries, st.data())
def test_who_leaves_is_gone_and_the_rest_is_served(asked: Entries, data: st.DataObject) -> None:
    queue = filled(asked)
    if not asked:
        assert not queue.remove(("a", 0))
        return
    gone = data.draw(st.sampled_from(list(queue.order())))
    if data.draw(st.booleans()):
        queue.peek()
    assert queue.remove(gone)
    assert not queue.remove(gone)
    assert len(queue) == len(asked) - 1
    assert gone not in served(queue)


def test_an_empty_queue() -> None:
    queue = filled([])
    assert queue.peek() is None
    assert len(queue) == 0
    with pytest.raises(LookupError):
        queue.pop()
