"""Large files that arrive otherwise than their pointers say: not one of them is ever given to a Space."""

from __future__ import annotations

from spaces_runner.types import Stage
from tests.faults import programs
from tests.faults.world import World
from tests.support.hub_faults import Fault
from tests.support.hub_repos import Raw, pointer

SIZE = 60_000


def corrupt(world: World) -> None:
    refused(world, Fault(route="lfs-object", times=99, corrupt=True))


def short(world: World) -> None:
    refused(world, Fault(route="lfs-object", times=99, short=True))


def lying(world: World) -> None:
    """The pointer names another size than its object has."""
    content = world.random.randbytes(SIZE)
    honest = pointer(content)
    lie = honest.replace(str(SIZE).encode(), str(world.random.randrange(1, SIZE)).encode())
    world.add({"app.py": programs.HONEST, "model.bin": Raw(lie), "same.bin": content}, lfs=("same.bin",))
    space_id = world.start()
    told(world, space_id)
    world.hub.commit("o/app", {"model.bin": Raw(honest)})
    served(world, space_id, content)


def refused(world: World, fault: Fault) -> None:
    content = world.random.randbytes(SIZE)
    world.add({"app.py": programs.HONEST, "model.bin": content}, lfs=("*.bin",))
    world.hub.misbehave(fault)
    space_id = world.start()
    told(world, space_id)
    served(world, space_id, content)


def told(world: World, space_id: str) -> None:
    status = world.until(space_id, Stage.BUILD_ERROR, timeout=30).status
    assert status.error is not None
    assert status.error.code == "lfs_failed", status.error
    assert "model.bin" in status.error.message
    assert not world.settings.space(space_id).app.exists()


def served(world: World, space_id: str, content: bytes) -> None:
    world.is_started_again(space_id)
    assert (world.settings.space(space_id).app / "model.bin").read_bytes() == content
