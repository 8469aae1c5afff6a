"""The web server as its own process, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.settings import Settings

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-tests-only"
START_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    argv: list[str]
    env: dict[str, str]
    cwd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """A running server. `link` signs a browser in."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def link(self) -> str:
        return f"{self.url}/?token={TOKEN}"

    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, words: str, patience_s: float = START_S) -> str:
        """The first line of the output that holds `words`. Fails when the server ends or `patience_s` passes."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            found = [line for line in self.output().splitlines() if words in line]
            if found:
                return found[0]
            assert self.process.poll() is None, f"the server ended:\n{self.output()}"
            time.sleep(0.1)
        raise AssertionError(f"no line with {words!r} in {patience_s} s:\n{self.output()}")

    @staticmethod
    def command(settings: Settings, arguments: Sequence[str]) -> Command:
        """How `python -m app` is started with `settings`, which its environment says again."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("SPACES_RUNNER_", "HF_"))}
        said: Mapping[str, str | None] = {
            "SPACES_RUNNER_HOME": settings.home,
            "SPACES_RUNNER_SHARE_SERVER": settings.share_server,
            "SPACES_RUNNER_TUNNEL_CLIENT": settings.tunnel_client,
            "SPACES_RUNNER_TUNNEL_CLIENT_SHA256": settings.tunnel_client_sha256,
            "HF_ENDPOINT": settings.hf_endpoint,
            "HF_HOME": str(settings.home_dir / "hub"),
            "SSL_CERT_FILE": settings.ca_file,
        }
        environ |= {name: value for name, value in said.items() if value}
        return Command(argv=[sys.executable, "-m", "app", *arguments], env=environ, cwd=ROOT)


@contextmanager
def serving(
    settings: Settings,
    folder: Path,
    arguments: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    patience_s: float = START_S,
) -> Iterator[WebServer]:
    """`python -m app` on a free port, until the block ends. Its output goes to a file in `folder`."""
    log = folder / "web.log"
    command = WebServer.command(settings, ["--port", "0", "--token", TOKEN, *arguments])
    with log.open("wb") as output:
        process = subprocess.Popen(
            command.argv,
            env={**command.env, **(environ or {})},
            cwd=command.cwd,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        starting = WebServer(url="", process=process, log=log)
        link = starting.wait_for("/?token=", patience_s)
        yield WebServer(url=link.partition(": ")[2].partition("/?token=")[0], process=process, log=log)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
            raise
