"""Apps that end by themselves, again and again."""

from __future__ import annotations

import signal

from spaces_runner.types import Stage
from tests.faults import programs
from tests.faults.world import World

WAYS = ("os._exit(0)", "os._exit(1)", "os.abort()", f"os.kill(os.getpid(), {signal.SIGSEGV.value})")
PAUSES_S = 1 + 2 + 4 + 8  # between the five lives


def loop(world: World) -> None:
    """Five lives, ever later; then it is told, with the last that it printed."""
    space_id = world.launch(programs.ending(world.random.choice(WAYS)))
    status = world.until(space_id, Stage.RUNTIME_ERROR, timeout=PAUSES_S + 15).status
    assert status.error is not None
    assert status.restarts == 4
    assert status.error.lines
    world.publish()
    world.is_started_again(space_id)
