"""One start of a Space's app: its process, ports, bridge, links and log, from the start to the last of its family."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

from spaces_runner.containers import remove
from spaces_runner.containers.container import Command
from spaces_runner.containers.container import command as contained
from spaces_runner.errors import LaunchError
from spaces_runner.job import Job
from spaces_runner.logfile import LogWriter
from spaces_runner.ports import PortBlock, listener
from spaces_runner.process import Family, Identity, identify
from spaces_runner.sandbox.command import Limits, make_killable, wrap
from spaces_runner.secrets import Secrets
from spaces_runner.shim.bridge import Bridge, Up
from spaces_runner.shim.links import Links
from spaces_runner.shim.probe import answers
from spaces_runner.shim.pump import Pump
from spaces_runner.shim.visitor import visit
from spaces_runner.types import Container, LaunchPlan, Ready, User
from spaces_runner.variables import LISTENING, MARK, PORT_HERE, RESERVED, SOCKET

PROBE_EVERY_S, PROBE_LATER_EVERY_S, PROBE_EAGERLY_S = 0.1, 0.5, 60.0
DRAIN_S = 2.0
CLIENT_S = 1.0  # for an engine's client to end after its container


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """A port of the app that answers HTTP. `reported`: the Space's own Python told of it."""

    local_url: str
    share_url: str | None
    port: int
    reported: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    code: int | None
    signal: int | None

    def __str__(self) -> str:
        return f"by signal {self.signal}" if self.signal is not None else f"with code {self.code}"


@dataclass(slots=True, kw_only=True)
class App:
    """Made by `start`. `pidfd` is ready to read when the app has ended."""

    process: subprocess.Popen[bytes]
    identity: Identity
    pidfd: int
    family: Family
    ports: PortBlock
    bridge: Bridge
    links: Links
    pump: Pump
    closed: Event
    container: Container | None = None
    removed: bool = False  # the container, once the app was ended

    def exit(self) -> Exit:
        """How it ended, once it has."""
        code = self.process.wait()
        return Exit(code=None, signal=-code) if code < 0 else Exit(code=code, signal=None)

    def end(self, grace_s: float) -> tuple[Identity, ...]:
        """End it with its whole family and all that serves it. Returns who could not be killed."""
        self.closed.set()
        self.bridge.close()
        closing = Thread(target=self.links.close, name="closing", daemon=True)
        closing.start()
        if self.container is not None:  # its engine ends what is inside; the family is the engine's client
            self.removed = remove.end(self.container, grace_s)
            grace_s = min(grace_s, CLIENT_S)
        left = self.family.end(grace_s)
        self.pump.finish(0.0 if left else DRAIN_S)  # who cannot be killed holds the pipe, too
        closing.join(DRAIN_S)
        return left

    def close(self) -> None:
        """After `end` and `exit`."""
        os.close(self.pidfd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Whom an app tells what. All are called from threads of ours."""

    answering: Callable[[Answering], None]
    patch_failed: Callable[[str, str], None]
    exported: Callable[[str], None]  # an app of this name is launched for a script that only makes it
    raised: Callable[[tuple[str, ...]], None]  # what its script raised in place of serving


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What one start of an app gets from the shim."""

    ports: PortBlock
    socket_dir: Path
    secrets: Secrets
    links: Links
    tell: Listeners


def start(job: Job, plan: LaunchPlan, means: Means) -> App:
    """Start the app of `plan`. Raises LaunchError when not even its process can be made."""
    socket = means.socket_dir / "s"
    ports, secrets, links, tell = means.ports, means.secrets, means.links, means.tell
    closed = Event()
    bridge = Bridge(
        socket_path=socket,
        ports=ports,
        share=plan.share,
        open_tunnel=links.open,
        on_up=lambda up: _confirm(up, closed, tell),
        on_failed=tell.patch_failed,
        allowed_uid=plan.user.uid if plan.user else None,
        by_script=plan.ready is Ready.SCRIPT,
        on_exported=tell.exported,
        on_raised=tell.raised,
    )
    bridge.start()
    settings = job.settings
    log = LogWriter(
        settings.space(job.space_id).run_log,
        limit=settings.log_bytes,
        keep=settings.log_files,
        secrets=secrets.values(),
    )
    printed, printer = os.pipe2(os.O_CLOEXEC)
    pump = Pump(log, printed)
    process = _spawn(_command(plan, secrets, ports, socket, job.run_id), plan.cwd, printer)
    identity = identify(process.pid)
    if identity is None:  # cannot be: nobody has waited for it
        raise LaunchError("The app's process was not there.")
    make_killable(process.pid)
    watch = (ports.base, plan.user, closed, tell)
    if plan.ready is Ready.SCRIPT:
        Thread(target=_visit, args=(*watch, bridge.script_ended), name="visit", daemon=True).start()
    else:
        Thread(target=_probe, args=watch, name="probe", daemon=True).start()
    return App(
        process=process,
        identity=identity,
        pidfd=os.pidfd_open(process.pid),
        family=Family(mark=job.run_id, user=plan.user, roots=(identity,), adopting=True),
        ports=ports,
        bridge=bridge,
        links=links,
        pump=pump,
        closed=closed,
        container=plan.container,
    )


def _command(plan: LaunchPlan, secrets: Secrets, ports: PortBlock, socket: Path, run_id: str) -> Command:
    """What is started: the app itself with few rights, or the engine's client that runs its container."""
    if plan.container is not None:
        made = contained(plan.container, ports.base, inside(plan, secrets, ports), plan.argv)
        return replace(made, env={**made.env, MARK: run_id})
    argv = tuple(word.replace(PORT_HERE, str(ports.base)) for word in plan.argv)
    return Command(
        argv=wrap(argv, plan.user, plan.fence, Limits()), env=environment(plan, secrets, ports, socket, run_id)
    )


def inside(plan: LaunchPlan, secrets: Secrets, ports: PortBlock) -> dict[str, str]:
    """What the Hub, the owner and his secrets tell an app, wherever it runs. SPACE_HOST is its first port's address."""
    host = {"SPACE_HOST": f"127.0.0.1:{ports.base}"} if "SPACE_ID" in plan.env else {}
    return {**host, **plan.env, **{name: value for name, value in secrets.items() if name not in RESERVED}}


def environment(plan: LaunchPlan, secrets: Secrets, ports: PortBlock, socket: Path, run_id: str) -> dict[str, str]:
    """The whole environment of an app that is a process of this machine."""
    return {
        **inside(plan, secrets, ports),
        **dict(zip(LISTENING, ("127.0.0.1", str(ports.base), str(ports.base)), strict=True)),
        SOCKET: str(socket),
        MARK: run_id,
    }


def _spawn(command: Command, cwd: str, printer: int) -> subprocess.Popen[bytes]:
    """The app's process, which prints to the descriptor `printer`; our copy of that is closed."""
    told = _told(command.told)
    try:
        return subprocess.Popen(
            command.argv,
            cwd=cwd,
            env=command.env,
            stdin=told,
            stdout=printer,
            stderr=printer,
            start_new_session=True,
            umask=0o022,
        )
    except (OSError, ValueError) as error:
        raise LaunchError(f"The app cannot be started: {error}") from error
    finally:
        os.close(told)
        os.close(printer)  # so that the last process that holds one ends the log


def _told(text: bytes) -> int:
    """A descriptor to read `text` from, which is in no file of any disk."""
    if not text:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("told")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _confirm(up: Up, closed: Event, tell: Listeners) -> None:
    """What a Space reports counts once its port answers us."""
    answering = Answering(local_url=up.local_url, share_url=up.share_url, port=up.port, reported=True)
    Thread(target=_when_up, args=(up.port, None, closed, lambda: tell.answering(answering)), daemon=True).start()


def _probe(port: int, user: User | None, closed: Event, tell: Listeners) -> None:
    """A server in another language reports nothing: it is up when the first port answers."""
    url = f"http://127.0.0.1:{port}/"
    answering = Answering(local_url=url, share_url=None, port=port, reported=False)
    _when_up(port, user, closed, lambda: tell.answering(answering))


def _visit(port: int, user: User | None, closed: Event, tell: Listeners, ended: Event) -> None:
    """Have the script run, whose end the bootstrap reports. Where no visitor gets in, an answer has to do."""

    def look() -> None:
        if not visit(port, ended):
            tell.patch_failed("the visit of its page", "the websocket is refused: nobody knows if the script runs")
            _probe(port, user, closed, tell)

    _when_up(port, user, closed, look)


def _when_up(port: int, user: User | None, closed: Event, then: Callable[[], None]) -> None:
    """Call `then` when the port answers; with `user`, only where that user's process listens there."""
    begun = time.monotonic()
    while not closed.is_set():
        if answers(port) and (user is None or listener(port) == user.uid):
            then()
            return
        eager = time.monotonic() - begun < PROBE_EAGERLY_S
        closed.wait(PROBE_EVERY_S if eager else PROBE_LATER_EVERY_S)
