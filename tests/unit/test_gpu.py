"""Which GPU a run gets."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spaces_runner import gpu, runner
from spaces_runner.errors import GpuUnavailable
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings, read_settings
from spaces_runner.store import Store
from spaces_runner.types import Gpu, RefKind, RunOptions, SpaceRef, Stage
from tests.support.nvml import Nvml

GIB = 1024**3
SMALL = Gpu(index=0, uuid="GPU-a", name="T4", total_bytes=16 * GIB, free_bytes=15 * GIB)
LARGE = Gpu(index=1, uuid="GPU-b", name="H200", total_bytes=141 * GIB, free_bytes=100 * GIB)
BOTH = (SMALL, LARGE)


def test_auto_takes_what_the_fewest_hold_and_then_the_freest() -> None:
    assert gpu.choose("auto", BOTH, {}) == LARGE
    assert gpu.choose("auto", BOTH, {"GPU-b": 1}) == SMALL
    assert gpu.choose("auto", BOTH, {"GPU-a": 1, "GPU-b": 1}) == LARGE
    assert gpu.choose("auto", (), {}) is None


def test_one_by_index_or_uuid() -> None:
    assert gpu.choose("0", BOTH, {"GPU-a": 5}) == SMALL
    assert gpu.choose("GPU-b", BOTH, {}) == LARGE
    assert gpu.choose("none", BOTH, {}) is None


@pytest.mark.parametrize(("there", "named"), [(BOTH, "1 (H200, GPU-b)"), ((), "none")])
def test_what_is_not_there_says_what_is(there: tuple[Gpu, ...], named: str) -> None:
    with pytest.raises(GpuUnavailable) as caught:
        gpu.choose("7", there, {})
    assert named in caught.value.message
    assert caught.value.hint


def test_the_inventory_is_a_value_with_or_without_a_driver() -> None:
    found = gpu.inventory()
    assert isinstance(found, tuple)
    for one in found:
        assert one.uuid.startswith(("GPU-", "MIG-"))
        assert 0 < one.free_bytes <= one.total_bytes


H100: dict[str, Any] = {"uuid": "GPU-1", "name": "NVIDIA H100 80GB HBM3", "memory": (80 * GIB, 79 * GIB)}
T4: dict[str, Any] = {"uuid": b"GPU-2", "name": b"Tesla T4", "memory": (15 * GIB, 14 * GIB)}  # older bindings: bytes
MIG: dict[str, Any] = {
    "uuid": "GPU-3", "name": "NVIDIA A100", "memory": (40 * GIB, 40 * GIB),
    "parts": [
        {"uuid": "MIG-a", "name": "NVIDIA A100 MIG 3g.20gb", "memory": (20 * GIB, 19 * GIB)},
        None,
        {"uuid": "MIG-b", "name": "NVIDIA A100 MIG 3g.20gb", "memory": (20 * GIB, 20 * GIB)},
    ],
}  # fmt: skip


Look = Callable[[Nvml], tuple[Gpu, ...]]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Look:
    """The inventory on a machine with this driver."""

    def look(nvml: Nvml) -> tuple[Gpu, ...]:
        monkeypatch.setattr(gpu, "_has_library", lambda: True)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        found = gpu.inventory()
        assert nvml.opened == 0
        return found

    return look


def test_what_a_driver_says(driver: Look) -> None:
    assert driver(Nvml(H100, T4)) == (
        Gpu(index=0, uuid="GPU-1", name="NVIDIA H100 80GB HBM3", total_bytes=80 * GIB, free_bytes=79 * GIB),
        Gpu(index=1, uuid="GPU-2", name="Tesla T4", total_bytes=15 * GIB, free_bytes=14 * GIB),
    )


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        (None, ["GPU-1", "GPU-2"]),
        ("1,0", ["GPU-2", "GPU-1"]),
        ("GPU-2", ["GPU-2"]),
        (" 1 , 1", ["GPU-2"]),
        ("0,7,1", ["GPU-1"]),  # what follows a mistake does not count
        ("", []),
        ("-1", []),
        ("GPU-", ["GPU-1"]),
    ],
)
def test_the_owners_own_cards_are_those_of_spaces(driver: Look, visible: str | None, left: list[str]) -> None:
    driver(Nvml(H100, T4))
    assert [one.uuid for one in gpu.inventory(visible)] == left
    assert read_settings({"CUDA_VISIBLE_DEVICES": visible} if visible is not None else {}).visible_gpus == visible
    if "GPU-1" not in left:
        with pytest.raises(GpuUnavailable, match="There: "):
            gpu.require("0", visible)


def test_a_driver_that_does_not_fit_its_library_has_no_gpu(driver: Look) -> None:
    assert driver(Nvml(H100, broken=True)) == ()


def test_a_gpu_that_is_lost_takes_no_other_along_and_keeps_its_number(driver: Look) -> None:
    found = driver(Nvml(None, T4))
    assert [(one.index, one.uuid) for one in found] == [(1, "GPU-2")]
    assert gpu.choose("1", found, {}) == found[0]


def test_of_a_partitioned_gpu_a_run_gets_a_part(driver: Look) -> None:
    found = driver(Nvml(MIG, H100))
    assert [(one.index, one.uuid) for one in found] == [(0, "MIG-a"), (1, "MIG-b"), (2, "GPU-1")]
    assert found[1].free_bytes == 20 * GIB
    assert driver(Nvml({**MIG, "parts": [None, None]})) == (), "until it has parts nothing can run on it"


def test_a_gpu_without_memory_of_its_own_has_the_machines(driver: Look) -> None:
    (found,) = driver(Nvml({"uuid": "GPU-4", "name": "NVIDIA GB10"}))
    assert found.total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < found.free_bytes <= found.total_bytes


def test_a_lease_is_kept_until_its_run_ends(tmp_path: Path) -> None:
    store = Store(Settings(home=str(tmp_path)))
    run_id = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/a"), RunOptions()).run_id
    leased = gpu.lease(store, run_id, "auto")
    held: list[dict[str, int]] = []
    store.lease("other", lambda now: held.append(dict(now)))
    store.update(run_id, {"stage": Stage.STOPPED})
    store.lease("other", lambda now: held.append(dict(now)))
    assert held == [{leased.uuid: 1} if leased else {}, {}]
    assert gpu.lease(store, run_id, "none") is None


def test_runs_spread_over_the_cards(tmp_path: Path, driver: Look) -> None:
    driver(Nvml(H100, T4))
    store = Store(Settings(home=str(tmp_path)))

    def start(name: str, wanted: str = "auto") -> str:
        admission = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/a"), RunOptions(), name)
        leased = gpu.lease(store, admission.run_id, wanted)
        assert leased is not None
        assert store.run(admission.space.id).status.gpu == f"{leased.index}: {leased.name}"
        return leased.uuid

    assert [start("one"), start("two"), start("three", "GPU-2"), start("four")] == ["GPU-1", "GPU-2", "GPU-2", "GPU-1"]
    with pytest.raises(GpuUnavailable, match=r"There: 0 \(NVIDIA H100 80GB HBM3, GPU-1\), 1 \(Tesla T4, GPU-2\)"):
        start("five", "3")


@pytest.mark.parametrize(
    ("hardware", "of", "gib"), [(None, LARGE, 0), ("cpu-basic", LARGE, 0), ("t4-small", LARGE, 16), ("a100", SMALL, 16)]
)
def test_what_a_space_may_take_of_a_gpu(hardware: str | None, of: Gpu, gib: int) -> None:
    assert gpu.needed(hardware, of) == gib * GIB


@pytest.mark.gpu
def test_a_real_gpu_is_leased(tmp_path: Path) -> None:
    if not gpu.inventory():
        pytest.skip("there is no NVIDIA GPU")
    store = Store(Settings(home=str(tmp_path)))
    admission = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/a"), RunOptions())
    leased = gpu.lease(store, admission.run_id, "auto")
    assert leased is not None
    assert leased.total_bytes > GIB
    assert leased.name in str(store.run(admission.space.id).status.gpu)


@pytest.mark.parametrize(
    ("hardware", "gpus", "words"),
    [
        (None, (), "There is no GPU here; the author asks for none."),
        ("cpu-basic", (), "the author asks for none"),
        ("a10g-small", (), "suggests a10g-small (24 GiB)"),
        ("a10g-small", (SMALL,), "may be too small"),
        ("a10g-small", BOTH, "H200 with 141 GiB (100 GiB free), which is enough"),
        ("t4-medium", (SMALL,), "which is enough"),
        ("a10g-largex4", BOTH, "(96 GiB)"),
        ("8xa100", BOTH, "names no GPU"),
        ("l40sx8", BOTH, "(384 GiB)"),
        ("zero-a10g", BOTH, "(70 GiB)"),
        (None, BOTH, "The author names no GPU; here is H200"),
    ],
)
def test_one_sentence_on_the_fit(hardware: str | None, gpus: tuple[Gpu, ...], words: str) -> None:
    said = gpu.fit(hardware, gpus)
    assert words in said
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("which", "words"),
    [
        (SMALL.uuid, "which may be too small"),
        (str(LARGE.index), "which is enough"),
        ("none", "No GPU is to be used; the author suggests a10g-small (24 GiB)."),
    ],
)
def test_the_fit_is_that_of_the_gpu_that_was_chosen(which: str, words: str) -> None:
    assert words in gpu.fit("a10g-small", BOTH, which)


def test_an_inspection_for_a_gpu_that_is_not_here_is_refused_before_anything(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "home"))
    with pytest.raises(GpuUnavailable, match="'77'"):
        runner.inspect(SpaceRef(kind=RefKind.HUB, source="o/n"), RunOptions(gpu="77"), settings, Reporter())
    assert not settings.home_dir.exists()
