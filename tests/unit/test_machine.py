"""What the machine does, whose processes they are, and what would have to go."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from app.inference.types import Residency
from app.machine import families, naming, residents
from app.machine.cards import Cards
from app.machine.machine import KEPT_S, Machine
from app.machine.residents import Resident, held
from app.machine.room import Held, Kind, to_go
from app.machine.values import Card, Process, Reading, Task
from app.playground.client import CoreClient
from app.playground.core import Phase
from app.playground.errors import PlaygroundError
from app.tabs import gpu as gpu_tab
from spaces_runner.types import Gpu, SpaceStatus, Stage
from tests.support.inference_server import TOKEN, ScriptedService, serving

GB = 1000**3
IDLE, BUSY = Kind.IDLE_MODEL, Kind.BUSY_MODEL


def item(name: str, kind: Kind, size: int) -> Held:
    return Held(name=name, kind=kind, size=size * GB)


ALL = (item("busy", BUSY, 13), item("space", Kind.SPACE, 20), item("small", IDLE, 5), item("large", IDLE, 13))


@pytest.mark.parametrize(
    ("wanted", "free", "names"),
    [
        (10, 10, []),
        (10, 5, ["large"]),
        (10, 0, ["large"]),
        (16, 0, ["large", "small"]),
        (30, 0, ["large", "space"]),  # the small one would not be enough in place of either
        (50, 0, ["large", "space", "small", "busy"]),
        (60, 0, None),
    ],
)
def test_what_has_to_go_is_no_more_than_needed(wanted: int, free: int, names: list[str] | None) -> None:
    gone = to_go(wanted * GB, free * GB, ALL)
    assert (None if gone is None else sorted(one.name for one in gone)) == (None if names is None else sorted(names))


def reading(at: float, processes: dict[int, Process], cards: tuple[Card, ...] = ()) -> Reading:
    return Reading(at=at, cpu=0.5, cpus=2, memory_total=10, memory_used=4, cards=cards, processes=processes)


def process(parent: int, cpu_s: float = 0.0) -> Process:
    return Process(parent=parent, memory=100, cpu_s=cpu_s)


CARD = Card(index=0, uuid="GPU-a", name="T4", total=16 * GB, used=4 * GB, load=0.5,
            tasks=(Task(pid=12, size=3 * GB), Task(pid=99, size=None)))  # fmt: skip


def test_a_family_is_counted_with_all_that_it_started() -> None:
    before = reading(100.0, {10: process(1, 1.0), 11: process(10, 2.0), 30: process(1)})
    now = reading(102.0, {10: process(1, 2.0), 11: process(10, 4.0), 12: process(11, 9.0), 30: process(1)}, (CARD,))
    used = families.usage(now, before, 10)
    assert used is not None
    assert (used.memory, used.gpu) == (300, 3 * GB)
    assert used.cpu == pytest.approx(1.5)  # what began in between is counted from the next look on
    assert families.usage(now, before, 77) is None
    assert families.owner(now.processes, 12, {10: "Space", 30: "other"}) == "Space"
    assert families.owner(now.processes, 99, {10: "Space"}) is None


def test_what_a_space_holds_is_asked_of_each_gpu_apart() -> None:
    """The GPU with most room is full to half by one Space; another holds more, but of the other GPU."""
    full = Card(index=0, uuid="GPU-a", name="T4", total=16 * GB, used=15 * GB, load=0.5,
                tasks=(Task(pid=11, size=14 * GB), Task(pid=20, size=1 * GB)))  # fmt: skip
    half = Card(index=1, uuid="GPU-b", name="T4", total=16 * GB, used=8 * GB, load=0.5,
                tasks=(Task(pid=20, size=8 * GB), Task(pid=11, size=None)))  # fmt: skip
    now = reading(1.0, {10: process(1), 11: process(10), 20: process(1)}, (full, half))
    spaces = gpu_tab.named([at_work("first", 10), at_work("second", 20), at_work("third", None)])
    assert spaces == {10: "a/b (first)", 20: "a/b (second)"}
    seen = gpu_tab.Seen(reading=now, spaces=spaces, core=None, residents=(), phase=Phase.READY)
    assert gpu_tab.held_by_spaces(seen, half) == [
        item("a/b (first)", Kind.SPACE, 0),
        item("a/b (second)", Kind.SPACE, 8),
    ]
    answer = gpu_tab.would_go(seen, 12)
    assert "a/b (second)" in answer and "a/b (first)" not in answer and "GPU 1" in answer
    assert "Does not fit" in gpu_tab.would_go(seen, 17)  # with both GPUs' use of the Spaces it would


def at_work(name: str, pid: int | None) -> SpaceStatus:
    return SpaceStatus(id=name, space="a/b", revision=None, stage=Stage.RUNNING, pid=pid)


class _NvmlError(Exception):
    """As pynvml.NVMLError."""


def nvml(**changes: Any) -> SimpleNamespace:
    """What pynvml answers for two cards, the second of which is split into instances and gives no load."""

    def load(handle: int) -> SimpleNamespace:
        if handle == 1:
            raise _NvmlError("Not Supported")
        return SimpleNamespace(gpu=37, memory=5)

    answers = {
        "NVMLError": _NvmlError,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=16 * GB, used=6 * GB, free=10 * GB),
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}".encode(),
        "nvmlDeviceGetName": lambda handle: "Tesla T4",
        "nvmlDeviceGetUtilizationRates": load,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=7, usedGpuMemory=5 * GB)],
        "nvmlDeviceGetGraphicsRunningProcesses": lambda handle: [SimpleNamespace(pid=7, usedGpuMemory=None),
                                                                 SimpleNamespace(pid=8, usedGpuMemory=None)],
    }  # fmt: skip
    return SimpleNamespace(**{**answers, **changes})


def test_cards_are_read_with_what_is_on_them() -> None:
    first, second = Cards(nvml).read()
    assert (first.uuid, first.name, first.used, first.free, first.load) == ("GPU-0", "Tesla T4", 6 * GB, 10 * GB, 0.37)
    assert first.tasks == (Task(pid=7, size=5 * GB), Task(pid=8, size=None))
    assert second.load is None


def test_a_card_that_is_lost_is_left_out_and_no_driver_is_asked_twice() -> None:
    def lost(index: int) -> int:
        if index == 0:
            raise _NvmlError("GPU is lost")
        return index

    assert [card.index for card in Cards(lambda: nvml(nvmlDeviceGetHandleByIndex=lost)).read()] == [1]
    asked: list[int] = []
    cards = Cards(lambda: asked.append(1))
    assert cards.read() == cards.read() == ()
    assert asked == [1]


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "import time\nwhile True: time.sleep(0)"])
    yield child
    child.kill()
    child.wait(5)


def test_the_machine_is_looked_at_once_a_second_and_remembers_minutes(worker: subprocess.Popen[bytes]) -> None:
    now = [1000.0]
    machine = Machine(cards=Cards(nvml), clock=lambda: now[0])
    first = machine.look()
    assert machine.look() is first
    now[0] += 2.0
    second = machine.look()
    assert 0.0 <= second.cpu <= 1.0 and 0 < second.memory_used < second.memory_total
    mine, its = machine.usage(os.getpid()), machine.usage(worker.pid)
    assert mine is not None and its is not None
    assert mine.memory > its.memory > 0
    assert [point.at for point in machine.memory_over_time()] == [1000.0, 1002.0]
    assert [point.load for point in machine.card_over_time("GPU-0")] == [0.37, 0.37]
    now[0] += KEPT_S
    machine.look()
    assert [point.at for point in machine.memory_over_time()] == [1002.0, 1302.0]


def test_glances_fill_the_time_in_which_nobody_looked(worker: subprocess.Popen[bytes]) -> None:
    now = [1000.0]
    machine = Machine(cards=Cards(nvml), clock=lambda: now[0])
    for _ in range(12):
        machine.glance()
        now[0] += 1.0
    assert [point.at for point in machine.memory_over_time()] == [1000.0, 1005.0, 1010.0]
    assert [point.at for point in machine.card_over_time("GPU-0")] == [1000.0, 1005.0, 1010.0]
    assert machine.usage(worker.pid) is None  # for which all processes are looked at
    looked = machine.look()
    assert machine.usage(worker.pid) is not None
    machine.glance()
    now[0] += 0.5
    assert machine.look() is looked
    assert [point.at for point in machine.memory_over_time()] == [1000.0, 1005.0, 1010.0, 1012.0]


def gpu(index: int, name: str) -> Gpu:
    return Gpu(index=index, uuid=f"GPU-{index}", name=name, total_bytes=1, free_bytes=1)


@pytest.mark.parametrize(
    ("device", "cards", "name"),
    [
        ("cpu", [], "CPU"),
        ("cuda:0", ["NVIDIA H100 80GB HBM3"], "NVIDIA H100 80GB HBM3"),
        ("cuda:1", ["T4", "T4"], "T4"),
        ("cuda:1", ["T4", "H200"], "GPU 1"),  # torch's order need not be NVML's
        ("cuda:0", [], "GPU 0"),
    ],
)
def test_a_device_has_the_name_of_its_card(device: str, cards: list[str], name: str) -> None:
    assert naming.named(device, tuple(gpu(index, card) for index, card in enumerate(cards))) == name


def resident(name: str, base: str, weights: int, **changes: Any) -> Resident:
    known: dict[str, Any] = {
        "name": name, "title": name.upper(), "base": base, "demo": False, "residency": "resident", "device": "cpu",
        "weights": weights, "kv_bytes": 1, "kv_tokens": 10, "kv_used": 0, "running": 0, "waiting": 0, "loading": 0.0,
        "error": "",
    }  # fmt: skip
    return Resident(**{**known, **changes})


def test_a_base_that_models_share_is_held_once() -> None:
    models = [
        resident("alpaca", "owner/llama", 13),
        resident("guanaco", "owner/llama", 13, waiting=1),
        resident("chat", "mpt", 13),
        resident("own", "mpt", 12),  # of another directory with that name
        resident("of an engine that says less", "", 1),
        resident("story", "owner/story", 13, residency="asleep"),
        resident("far", "owner/llama", 13, device="cuda:0"),
    ]
    assert held(models, "cpu") == [
        Held(name="ALPACA, GUANACO", kind=BUSY, size=14),
        Held(name="CHAT", kind=IDLE, size=14),
        Held(name="OWN", kind=IDLE, size=13),
        Held(name="OF AN ENGINE THAT SAYS LESS", kind=IDLE, size=2),
    ]


def test_residents_are_what_the_core_says_of_its_models() -> None:
    async def asked(url: str, token: str) -> tuple[Resident, ...]:
        client = CoreClient(url, token)
        try:
            return await residents.ask(client)
        finally:
            await client.close()

    with serving(ScriptedService(residency={"alpaca": Residency.RESIDENT})) as url:
        alpaca, guanaco, *_, llava = asyncio.run(asked(url, TOKEN))
        with pytest.raises(PlaygroundError):
            asyncio.run(asked(url, "wrong"))
    assert (alpaca.residency, alpaca.weights, alpaca.kv_tokens) == ("resident", 1000, 1000)
    assert (guanaco.residency, guanaco.weights, guanaco.base) == ("absent", 0, alpaca.base)
    assert alpaca.base == "owner/llama" != llava.base
