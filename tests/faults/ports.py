"""Somebody else on the port that a Space had: it is served elsewhere, and its link says where."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from spaces_runner.types import Stage
from tests.faults.kills import killed
from tests.faults.world import World


@contextmanager
def squatted(url: str | None) -> Iterator[int]:
    """A server that takes connections there and never answers."""
    port = urlsplit(url or "").port
    assert port is not None
    deadline = time.monotonic() + 5
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            try:
                server.bind(("127.0.0.1", port))
                break
            except OSError:
                assert time.monotonic() < deadline, "its port is not free after its end"
                time.sleep(0.01)
        server.listen()
        yield port


def squatted_twice(world: World) -> None:
    """While it is stopped, and between two lives of its app."""
    space_id = world.launch()
    url = world.run(space_id).status.local_url
    world.stop(space_id)
    with squatted(url):
        before = world.is_started_again(space_id)
    assert before.status.local_url != url
    killed(before.app)
    with squatted(before.status.local_url):
        world.until(space_id, Stage.APP_STARTING, timeout=2)
        after = world.recovers(space_id)
    assert after.status.local_url != before.status.local_url
