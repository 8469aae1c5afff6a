"""`python -m app.inference serve`: reads the environment and the command line once, and serves the models."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from app.inference import catalog
from app.inference.catalog import Preset
from app.inference.errors import InferenceError
from app.inference.pool import Options, Pool
from app.inference.pool.hardware import device_of, preset_for, usable
from app.inference.pool.lease import lease_of
from app.inference.pool.local import tools
from app.inference.pool.pool import Remote
from app.inference.server import (
    AnyOf,
    KeyFile,
    Keys,
    OneKey,
    Server,
    UnsafeAddress,
    bind,
    bind_file,
    create_app,
    url,
)
from app.inference.types import ModelCard
from spaces_runner.settings import read_settings
from spaces_runner.variables import MARK

AUTO = "auto"
DRAIN_S = 5.0  # for answers under way when the core is told to stop; then they are interrupted
TOKEN_VARIABLE = "SPACES_RUNNER_CORE_TOKEN"
MIN_TOKEN = 8
DEVICE_LOST = 3  # the exit code when the device computes no more for this process; whoever started it starts it anew
LAST_WORDS_S = 15.0  # to tell callers so; then the process ends, whatever still hangs on the device


class BadCommand(ValueError):
    """What the command line asks for cannot be done; the message says what and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is served, where, and to whom."""

    device: str
    preset: Preset
    why: str
    cards: tuple[ModelCard, ...]
    keys: Keys = field(repr=False)
    made_token: str | None = field(repr=False)  # one that nobody knows yet
    threads: int | None
    ttl_s: float
    as_json: bool

    @property
    def choice(self) -> dict[str, str]:
        """What was chosen, and why where nobody asked for it."""
        return {"preset": self.preset.value, "why": self.why, "device": self.device}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when it was told to stop, 2 when it could not begin, 3 when its device was lost."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    chosen = _parser().parse_args(arguments)
    try:
        plan = _plan(chosen, os.environ)
        _write_down(plan, chosen.choice)
        listener = _listener(chosen, os.environ)
    except InferenceError as error:
        return _refuse(error.sentence)
    except (BadCommand, UnsafeAddress) as error:
        return _refuse(str(error))
    return asyncio.run(_serve(plan, listener, os.environ))


def _plan(chosen: argparse.Namespace, environ: Mapping[str, str]) -> Plan:
    """Raises BadCommand, InferenceError."""
    _check(chosen)
    card = usable()
    preset, why = preset_for(card) if chosen.preset == AUTO else (Preset(chosen.preset), "")
    token = chosen.token or _token_in(chosen.token_file) or environ.get(TOKEN_VARIABLE)
    if token and len(token) < MIN_TOKEN:
        raise BadCommand(f"A token has at least {MIN_TOKEN} characters.")
    made = None if token else secrets.token_urlsafe(32)
    keys: Keys = OneKey(token or made or "")
    if chosen.keys is not None:
        keys = AnyOf((keys, KeyFile(chosen.keys)))
    return Plan(
        device=device_of(card),
        preset=preset,
        why=why,
        cards=catalog.read(preset, chosen.models, chosen.models_dir),
        keys=keys,
        made_token=made,
        threads=chosen.threads,
        ttl_s=chosen.ttl,
        as_json=chosen.json,
    )


def _check(chosen: argparse.Namespace) -> None:
    """Raises BadCommand for a number that cannot be meant."""
    if chosen.threads is not None and chosen.threads < 1:
        raise BadCommand(f"--threads is {chosen.threads}; at least 1 is needed to compute.")
    if not chosen.ttl > 0:  # NaN, too
        raise BadCommand(f"--ttl is {chosen.ttl:g}; it must be more than 0 seconds.")


def _token_in(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadCommand(f"The token in {path} cannot be read: {error}.") from error
    if not token:
        raise BadCommand(f"There is no token in {path}.")
    return token


def _write_down(plan: Plan, path: Path | None) -> None:
    """Before anything answers, so that who finds it answering finds this. Raises BadCommand."""
    if path is None:
        return
    try:
        path.with_suffix(".new").write_text(json.dumps(plan.choice), "utf-8")
        path.with_suffix(".new").replace(path)
    except OSError as error:
        raise BadCommand(f"What was chosen cannot be written to {path}: {error}.") from error


def _listener(chosen: argparse.Namespace, environ: Mapping[str, str]) -> socket.socket:
    """Raises BadCommand, UnsafeAddress."""
    where = str(chosen.socket or f"{chosen.host} port {chosen.port}")
    try:
        if chosen.socket is not None:
            return bind_file(chosen.socket)
        return bind(chosen.host, _port(chosen.port, environ))
    except OSError as error:
        raise BadCommand(f"Cannot listen on {where}: {error}.") from error


def _port(chosen: int | None, environ: Mapping[str, str]) -> int:
    """The one that was asked for; the system would take a number past the last port modulo 65536."""
    text = str(chosen if chosen is not None else environ.get("PORT") or 0)
    if not text.isdecimal() or int(text) > 65535:
        raise BadCommand(f"{text} is no port; a port is a number from 0 to 65535.")
    return int(text)


async def _serve(plan: Plan, listener: socket.socket, environ: Mapping[str, str]) -> int:
    """Until SIGTERM or SIGINT, or until the device is lost. The exit code."""
    code = 0

    def lost() -> None:
        nonlocal code
        code, server.should_exit = DEVICE_LOST, True
        end = threading.Timer(LAST_WORDS_S, os._exit, (DEVICE_LOST,))
        end.daemon = True
        end.start()

    lease = lease_of(read_settings(environ), environ.get(MARK))
    options = Options(ttl_s=plan.ttl_s)
    pool = Pool(plan.cards, tools(plan.device, plan.threads, lease), options, _elsewhere, on_lost=lost)
    await pool.start()
    server = Server(
        create_app(pool, plan.keys),
        on_started=lambda: _tell(plan, listener),
        on_stopping=lambda: pool.drain(DRAIN_S),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _heard)  # the server raises again, at its end, what it was told
    try:
        await server.serve(sockets=[listener])
    finally:
        await pool.close()
    return code


def _elsewhere(card: ModelCard) -> Remote:
    from app.inference.remote import RemoteModel

    return RemoteModel(card)


def _heard(_number: int, _frame: object) -> None:
    return


def _tell(plan: Plan, listener: socket.socket) -> None:
    """The one line that says that it answers; with a token of our own making, that too."""
    address, names = url(listener), [card.name for card in plan.cards]
    if plan.as_json:
        ready = {
            "url": address,
            "pid": os.getpid(),
            **plan.choice,
            "models": names,
        }
        _say(json.dumps(ready | ({"token": plan.made_token} if plan.made_token else {})))
        return
    if plan.why:
        _say(plan.why)
    _say(f"Inference core: {address} on {plan.device}, with {', '.join(names)}.")
    if plan.made_token:
        _say(f"Its token, made for this run: {plan.made_token}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.inference", description="The inference core of Spaces Runner.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="serve")
    serve = verbs.add_parser("serve", help="serve models over the protocols of OpenAI and TGI")
    presets = [*(preset.value for preset in Preset), AUTO]
    serve.add_argument(
        "--preset", choices=presets, default=AUTO, help="which weights (default: auto, by what the GPU holds)"
    )
    serve.add_argument("--models", type=Path, metavar="FILE", help="a TOML file of your own models, or changes to ours")
    serve.add_argument(
        "--models-dir", type=Path, metavar="DIR", help="where weights lie, in a directory for each model"
    )
    serve.add_argument("--host", default="127.0.0.1", help="an address of this machine alone (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="the port; 0 is a free one (default: the variable PORT, or 0)")
    serve.add_argument("--socket", type=Path, metavar="FILE", help="a Unix socket instead of a port")
    serve.add_argument(
        "--token",
        help=f"the owner's token (default: the variable {TOKEN_VARIABLE}, or a new one that is shown). Other users of "
        "this machine can read a command line; programs say it by the variable or a file",
    )
    serve.add_argument("--token-file", type=Path, metavar="FILE", help="a file that holds the owner's token")
    serve.add_argument("--keys", type=Path, metavar="FILE", help="a file of more callers' keys, read when it changes")
    serve.add_argument("--threads", type=int, help="threads of the CPU to compute with (default: all cores)")
    serve.add_argument(
        "--ttl", type=float, default=900, metavar="SECONDS", help="unused models go to sleep (default: 900)"
    )
    serve.add_argument(
        "--choice", type=Path, metavar="FILE", help="write there, as JSON, which preset and device were chosen, and why"
    )
    serve.add_argument("--json", action="store_true", help="say that it is ready in one line of JSON")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _refuse(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 2


def _leave(code: int) -> NoReturn:
    """All is closed by now; to take the libraries of the models down piece by piece would take seconds."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
