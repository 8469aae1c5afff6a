"""A network that fails while a Space is fetched or installed: for a moment, which goes unnoticed, or for long."""

from __future__ import annotations

from spaces_runner.types import Stage
from tests.faults.world import World
from tests.support.hub_faults import Fault

MIDDLE = 700  # bytes of a body that arrive before it is cut
LASTING = 99
CLONE, INSTALL = ("git-refs", "git-pack"), ("page", "wheel")  # a route that is asked, and one that transfers


def clone_dropped(world: World) -> None:
    fails(world, Fault(route=CLONE[1], drop_after=MIDDLE))


def clone_stalled(world: World) -> None:
    fails(world, Fault(route=CLONE[1], stall_after=MIDDLE, stall_s=4.0))


def clone_refused_429(world: World) -> None:
    fails(world, Fault(route=world.random.choice(CLONE), status=429))


def clone_refused_503(world: World) -> None:
    fails(world, Fault(route=world.random.choice(CLONE), status=503))


def install_dropped(world: World) -> None:
    fails(world, Fault(route=INSTALL[1], drop_after=MIDDLE))


def install_stalled(world: World) -> None:
    fails(world, Fault(route=INSTALL[1], stall_after=MIDDLE, stall_s=4.0))


def install_refused_429(world: World) -> None:
    passes(world, Fault(route=world.random.choice(INSTALL), status=429))


def install_refused_503(world: World) -> None:
    passes(world, Fault(route=world.random.choice(INSTALL), status=503))


def passes(world: World, fault: Fault) -> None:
    """It is over before the third try: nobody but the log notices."""
    inject(world, fault, 2)
    world.publish()
    space_id = world.start()
    world.until(space_id, Stage.RUNNING)


def fails(world: World, fault: Fault) -> None:
    """The build ends in an error that says what to do, and nothing half-made is taken for whole afterwards."""
    inject(world, fault, LASTING)
    world.publish(data="large" * 1000)
    space_id = world.start()
    status = world.until(space_id, Stage.BUILD_ERROR, timeout=40).status
    assert status.error is not None
    assert status.error.code in ("network_failed", "unresolvable", "build_failed"), status.error
    assert status.error.hint
    assert not world.settings.space(space_id).app.exists() or fault.route in INSTALL
    world.is_started_again(space_id)


def inject(world: World, fault: Fault, times: int) -> None:
    fault.times = times
    (world.index if fault.route in INSTALL else world.hub).misbehave(fault)
