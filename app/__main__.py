"""`python -m app`: reads the environment and the command line once, and serves the page."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
import tempfile
from pathlib import Path
from types import FrameType

from app import platforms
from app.guests import ANSWERS, MESSAGES, GuestLimits
from app.hosts import Hosts
from app.listening import EVERYWHERE, ModelOptions, ServerOptions, bind, known_hosts, stored_token
from app.platforms import Proxy
from app.playground.core import Place
from spaces_runner import looking
from spaces_runner.errors import RunnerError
from spaces_runner.settings import Settings, read_settings

MIN_TOKEN = 8
ROOT = Path(__file__).parents[1]
CORE_TOKEN = "SPACES_RUNNER_CORE_TOKEN"


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        settings = read_settings(os.environ)
    except ValueError as error:
        return _refuse(str(error))
    try:
        settings.home_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        looking.sweep(settings)
        token = chosen.token or os.environ.get("SPACES_RUNNER_PAGE_TOKEN") or stored_token(settings)
    except RunnerError as error:
        return _refuse(f"{error.message} {error.hint}")
    except OSError as error:
        return _refuse(f"The state directory {settings.home} cannot be used: {error.strerror}.")
    if not re.fullmatch(rf"[A-Za-z0-9._~-]{{{MIN_TOKEN},}}", token):
        return _refuse(f"A token has at least {MIN_TOKEN} characters, of letters, digits and . _ ~ - only.")
    proxy = platforms.proxy(os.environ) if chosen.share else None
    options = ServerOptions(
        host=chosen.host or (EVERYWHERE[0] if proxy else "127.0.0.1"),
        port=chosen.port if chosen.port is not None else proxy.port if proxy else 7860,
        proxy=proxy,
        share=chosen.share,
        token=token,
        allow_hosts=tuple(chosen.allow_host),
        examples=ROOT / "examples",
        private=chosen.private,
        core=ModelOptions(
            place=Place(url=chosen.core, token=os.environ.get(CORE_TOKEN, "")) if chosen.core else None,
            guests=GuestLimits(answers=chosen.guest_answers, messages=chosen.guest_messages),
        ),
    )
    try:
        hosts = known_hosts(options)
    except ValueError as error:
        return _refuse(f"--allow-host: {error}")
    try:
        listener = bind(options.host, options.port)
    except OSError as error:
        return _refuse(f"Cannot listen on {options.host} port {options.port}: {error}")
    return _serve(settings, options, hosts, listener)


def _serve(settings: Settings, options: ServerOptions, hosts: Hosts, listener: socket.socket) -> int:
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="page-") as files:
        _quiet_gradio(files)
        try:
            return _run(settings, options, hosts, listener)
        except KeyboardInterrupt:
            _say("Stopped. Spaces that were started go on: spaces-runner ps shows them.")
            return 128 + signal.SIGINT


def _end(number: int, frame: FrameType | None) -> None:
    """The web server raises the signal once more when it has closed; what is open here is closed then, too."""
    raise SystemExit(128 + number)


def _run(settings: Settings, options: ServerOptions, hosts: Hosts, listener: socket.socket) -> int:
    from app.server import build_app, guard, serve  # Gradio reads its environment when it is imported
    from app.share import PageLink

    port = listener.getsockname()[1]
    if port != options.port and options.port:
        _say(f"Port {options.port} is taken; this server uses {port}.")
    link = PageLink(settings=settings, port=port, token=options.token, hosts=hosts, say=_say)

    def started() -> None:
        _say(f"Spaces Runner: {_local(options.host, port)}/?token={options.token}")
        _say("Open this link: it signs the browser in. Keep it to yourself: whoever has it can run code here.")
        if not options.private:
            _say(f"For guests: {_local(options.host, port)}/ is a chat with the models, and nothing more.")
        if options.proxy:
            _say(_proxy_line(options.proxy, options, port))
        if options.share:
            link.start()

    try:
        serve(guard(build_app(settings, options, link), settings, options, hosts), listener, started)
    finally:
        link.stop()
    return 0


def _proxy_line(proxy: Proxy, options: ServerOptions, port: int) -> str:
    if port == proxy.port and options.host in EVERYWHERE:
        return f"{proxy.platform}'s own link: {proxy.url}/?token={options.token}"
    return (
        f"{proxy.platform}'s own link leads to port {proxy.port} of every address, and this server has "
        f"{options.host} port {port}. Start it with --host 0.0.0.0 --port {proxy.port} when that is free."
    )


def _quiet_gradio(files: str) -> None:
    """Gradio reports to nobody, and what people upload lies where only we may look, until this server ends."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = files


def _local(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in EVERYWHERE else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="The web page of Spaces Runner.")
    parser.add_argument("--host", help="the address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, help="the port, or the next free one (default: 7860)")
    parser.add_argument(
        "--share",
        action="store_true",
        help="give the page a public link, too; on Gradient also its own, by port 6006 of every address",
    )
    parser.add_argument(
        "--private", action="store_true", help="no guests: without the token there is nothing but the sign-in"
    )
    parser.add_argument(
        "--guest-answers",
        type=_count,
        default=ANSWERS,
        metavar="N",
        help=f"how many answers are written for all guests together at once (default: {ANSWERS})",
    )
    parser.add_argument(
        "--guest-messages",
        type=_count,
        default=MESSAGES,
        metavar="N",
        help=f"how many messages all guests together send in a minute (default: {MESSAGES})",
    )
    parser.add_argument(
        "--core",
        metavar="URL",
        help=f"take the models from a server that runs already, with the token in {CORE_TOKEN} "
        "(default: this machine's own, started when it is needed)",
    )
    parser.add_argument(
        "--token",
        help="the page's token (default: a random one that is kept). Other users of this machine can read a command "
        "line; the variable SPACES_RUNNER_PAGE_TOKEN says the same in private",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer to this host name, too, for example gpu.lan or https://gpu.example.org (may be repeated)",
    )
    return parser


def _count(text: str) -> int:
    """A number of at least one; less would be --private."""
    if not re.fullmatch(r"0*[1-9]\d{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1; --private lets no guests in")
    return int(text)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _refuse(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
