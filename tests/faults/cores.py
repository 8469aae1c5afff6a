"""The inference core with the models that come with the project: killed at work, and left by those who asked it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from spaces_runner import core
from spaces_runner.core import Command, CoreStatus
from spaces_runner.types import Stage
from tests.faults.world import RECOVERED_S, World, wait

MODEL = "alpaca-lora-7b"
ROOT = Path(__file__).parents[2]
CLIENTS = 24
LONG = {"model": MODEL, "prompt": "Once upon a time", "max_tokens": 200, "temperature": 1.0, "stream": True}
QUESTION = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "temperature": 0,
}


@contextmanager
def at(status: CoreStatus) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {status.token}"}
    with httpx.Client(base_url=status.url or "", headers=headers, timeout=60, trust_env=False) as client:
        yield client


def started(world: World) -> CoreStatus:
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    command = Command(python=sys.executable, root=str(ROOT), environ=environ, preset="demo", threads=1, gpu="none")
    return core.ensure(world.settings, command)


def at_rest(status: CoreStatus) -> dict[str, Any]:
    """What the model holds once nobody asks it: it comes to rest within ten seconds."""
    with at(status) as client:

        def described() -> dict[str, Any]:
            found: dict[str, Any] = client.get(f"/v1/models/{MODEL}").raise_for_status().json()
            return found

        wait(lambda: described()["running"] == described()["waiting"] == 0, "somebody is still answered", 10)
        return described()


def capital(status: CoreStatus) -> str:
    with at(status) as client:
        said = client.post("/v1/chat/completions", json=QUESTION).raise_for_status().json()
        return str(said["choices"][0]["message"]["content"])


def listen(status: CoreStatus, patience_s: float, begun: threading.Event) -> None:
    """Ask for a long answer, hear some of it, and vanish: the connection is cut, without a word."""
    with (
        suppress(httpx.TransportError),
        at(status) as client,
        client.stream("POST", "/v1/completions", json=LONG) as answer,
    ):
        deadline = time.monotonic() + patience_s
        for _ in answer.iter_raw():
            begun.set()
            if time.monotonic() > deadline:
                return


def killed_while_it_answers(world: World) -> None:
    """The next life has the same address and the same token: pages and Spaces hold them."""
    before = started(world)
    assert "Paris" in capital(before)
    heard = threading.Event()
    listener = threading.Thread(target=listen, args=(before, 30.0, heard))
    listener.start()
    assert heard.wait(30)
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    killed = time.monotonic()
    listener.join(5)
    assert not listener.is_alive(), "who listens is told that it is over"
    wait(lambda: (told(world).stage, told(world).pid) != (before.stage, before.pid), "its end is not noticed", 1.0)
    wait(lambda: told(world).stage is Stage.RUNNING, "it does not answer again", RECOVERED_S * 3)
    after = told(world)
    print(f"answered again after {time.monotonic() - killed:.1f} s")
    assert (after.url, after.token, after.restarts) == (before.url, before.token, 1)
    assert "Paris" in capital(after)


def left_in_the_middle(world: World) -> None:
    """Two dozen at once, each at a moment of its own: what they held is free again, and others are answered."""
    status = started(world)
    assert "Paris" in capital(status)
    quiet = at_rest(status)
    threads = [
        threading.Thread(target=listen, args=(status, world.random.uniform(0.0, 1.5), threading.Event()))
        for _ in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    after = at_rest(status)
    assert (after["kv_bytes"], after["kv_tokens"]) == (quiet["kv_bytes"], quiet["kv_tokens"])
    assert "Paris" in capital(status)
    assert told(world).restarts == 0


def told(world: World) -> CoreStatus:
    found = core.status(world.settings)
    assert found is not None
    return found
