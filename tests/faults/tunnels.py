"""The public link's client dies, or never comes up. The Space is not disturbed by any of it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

from spaces_runner.types import Stage
from tests.faults.census import family, words
from tests.faults.world import RECOVERED_S, World, get, wait


def client_killed(world: World) -> None:
    world.settings = replace(world.share.settings(world.settings), link_retry_s=0.2)
    space_id = world.launch(share=True)
    wait(lambda: world.run(space_id).status.share_url, "there is no link", 40)
    before = world.run(space_id)
    [client] = [pid for pid in family(before) if "--server_addr" in words(pid)]
    os.kill(client, signal.SIGKILL)
    wait(lambda: world.run(space_id).status.share_url != before.status.share_url, "it is not noticed", 5)
    wait(lambda: world.run(space_id).status.share_url, "there is no link again", RECOVERED_S)
    after = world.run(space_id)
    assert (after.app, after.status.stage) == (before.app, Stage.RUNNING)
    assert get(after.status.share_url) == "ok"
