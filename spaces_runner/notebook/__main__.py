"""`python -m spaces_runner.notebook`: does what one cell of a notebook asks for, in a line of JSON on standard input.

It hears an interruption as SIGINT. When its input closes, the kernel is gone: it ends, and what it started goes on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from spaces_runner import core
from spaces_runner.core.service import REF
from spaces_runner.errors import RunnerError
from spaces_runner.format import error_lines
from spaces_runner.notebook import rooms
from spaces_runner.notebook.host import GB, Host, detect
from spaces_runner.notebook.resume import resume
from spaces_runner.notebook.session import Order, Session
from spaces_runner.notebook.snapshot import Snapshot
from spaces_runner.notebook.tell import Tell
from spaces_runner.settings import Settings, read_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """`asked` is what the cell says, without the verb."""

    asked: Mapping[str, Any]
    host: Host
    settings: Settings
    tell: Tell


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a kernel in the background may ignore it
    signal.signal(signal.SIGTERM, _leave)
    tell = Tell()
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_kernel, name="kernel", daemon=True).start()
    try:
        settings, host = read_settings(os.environ), detect(os.environ)
        if host.platform:  # the core's models lie where they may be kept, unless the owner says where
            os.environ.setdefault("HF_HUB_CACHE", str(rooms.chat_models(settings)))
        verb = VERBS[asked.pop("verb")]
        verb(Work(asked=asked, host=host, settings=settings, tell=tell))
    except RunnerError as error:
        tell.failed(error_lines(error.info))
        return 1
    except ValueError as error:
        tell.failed([f"error: {error}"])
        return 1
    except KeyboardInterrupt:
        tell.line("Interrupted.")
    return 0


def space(work: Work) -> None:
    order = Order(**work.asked)
    Session(order=order, host=work.host, settings=work.settings, tell=work.tell).run()


def start_core(work: Work) -> None:
    storage_gb = work.asked["storage_gb"]
    for line in rooms.arrange(work.host, work.settings, storage_gb and round(storage_gb * GB)):
        work.tell.line(line)
    if kept := rooms.snapshot(work.host):  # before there is a new state
        resume(Snapshot(kept=kept, settings=work.settings), REF, work.settings, work.tell.line)
    command = core.Command(
        python=sys.executable, root=core.own_checkout(), environ=os.environ, preset=work.asked["preset"]
    )
    found = core.status(work.settings)
    if found is None or not found.stage.active:
        work.tell.line("Starting the inference core …")
    found = core.ensure(work.settings, command)
    work.tell.core(str(found.url), str(found.token), found.preset)


def stop_core(work: Work) -> None:
    work.tell.line("The core is stopped." if core.stop(work.settings) else "There is no core to stop.")


VERBS: Mapping[str, Callable[[Work], None]] = {"space": space, "core": start_core, "stop-core": stop_core}


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end_with_the_kernel() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main())
