"""What a run holds of the machine, as the state database knows it: ports and GPUs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import pytest

from spaces_runner import gpu
from spaces_runner.errors import PortTaken
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import (
    RunOptions,
    Stage,
)
from tests.support.stores import HUB, ended, here

__all__ = ["here"]  # a fixture


def test_ports_are_free_and_rest_before_they_come_back(here: Settings) -> None:
    store = Store(here)
    first = store.claim_ports("a", lambda _: True)
    second = store.claim_ports("b", lambda _: True)
    assert len(first) == 10
    assert not set(first) & set(second)
    store.release_ports("a")
    third = store.claim_ports("c", lambda _: True)
    assert not set(third) & (set(first) | set(second))
    taken = third.stop + 3
    fourth = store.claim_ports("d", lambda port: port != taken)
    assert taken not in fourth
    assert fourth.start > third.start


def claim(store: Store, name: str, is_free: Callable[[int], bool] = lambda _: True) -> range:
    """The ports of a new run of the Space of that name."""
    return store.claim_ports(store.admit(HUB, RunOptions(), name).run_id, is_free)


def claim_and_end(store: Store, name: str) -> range:
    block = claim(store, name)
    ended(store, store.run(name).id)
    return block


def test_a_space_keeps_its_ports(here: Settings) -> None:
    store = Store(here)
    first = claim_and_end(store, "one")
    assert claim(store, "two") != first, "they rest for others"
    assert claim_and_end(store, "one") == first, "but not for the Space that had them"
    other = claim(store, "one", lambda port: port not in first)
    assert other != first, "a server of somebody else's is there"
    ended(store, store.run("one").id)
    assert claim_and_end(store, "one") == other


def test_ports_that_rested_are_anybodys(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spaces_runner.store.blocks.REST_S", 0.0)
    monkeypatch.setattr("spaces_runner.store.blocks.BLOCKS", 2)
    store = Store(here)
    first, second = claim_and_end(store, "one"), claim_and_end(store, "two")
    assert claim(store, "three") == first
    assert claim(store, "one") == second, "what it had is in use, and whose the other was is no reason to have none"


def test_ports_of_another_range_are_not_kept(here: Settings) -> None:
    store, moved = Store(here), Store(replace(here, port_base=here.port_base + 20_000))
    claim_and_end(store, "one")
    assert claim(moved, "one").start >= here.port_base + 20_000


def test_the_end_of_a_run_gives_ports_and_gpu_back(here: Settings) -> None:
    store = Store(here)
    run_id = store.admit(HUB, RunOptions()).run_id
    store.claim_ports(run_id, lambda _: True)
    store.lease(run_id, lambda held: "GPU-1")
    seen: list[dict[str, int]] = []
    store.lease("other", lambda held: seen.append(dict(held)))
    ended(store, run_id)
    store.lease("other", lambda held: seen.append(dict(held)))
    assert seen == [{"GPU-1": 1}, {}]
    with sqlite3.connect(here.database) as db:
        released = db.execute("SELECT released FROM ports").fetchall()
    db.close()
    assert released[0][0] is not None


def test_no_port_is_free(here: Settings) -> None:
    with pytest.raises(PortTaken) as caught:
        Store(here).claim_ports("a", lambda _: False)
    assert "SPACES_RUNNER_PORT_BASE" in caught.value.hint


def test_what_others_on_the_same_gpu_claim(here: Settings) -> None:
    store = Store(here)
    mine, starting, elsewhere = (store.admit(HUB, RunOptions(), name).run_id for name in ("a", "b", "c"))
    store.lease(mine, lambda _: "GPU-a")
    store.lease(starting, lambda _: "GPU-a")
    store.lease(elsewhere, lambda _: "GPU-b")
    for run_id, size in ((mine, 1), (starting, 20), (elsewhere, 300)):
        store.hold(run_id, size)
    assert gpu.promised(store, mine) == 20
    store.update(starting, {"stage": Stage.RUNNING})
    assert gpu.promised(store, mine) == 0, "what it took by then is what the driver says"
    assert [claim.size for claim in store.neighbours(mine)] == [20]
    store.update(starting, {"stage": Stage.STOPPED})
    assert store.neighbours(mine) == ()
    store.hold("nobody", 5)
