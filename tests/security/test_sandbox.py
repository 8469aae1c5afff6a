"""The malicious Space, run as any other, against the table of what it gets in each sandbox."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from spaces_runner import control, looking
from spaces_runner.errors import SandboxMissing
from spaces_runner.ref import parse
from spaces_runner.sandbox import battery, choice
from spaces_runner.settings import Settings
from spaces_runner.types import RunOptions, Sandbox, Stage
from tests.support.home import open_directory

pytestmark = pytest.mark.network_index

HERE = Path(__file__).parent
TABLE: dict[str, dict[str, list[str]]] = tomllib.loads((HERE / "allowed.toml").read_text())
MEANS = {"full": (True, True), "user-and-seccomp": (False, True), "user": (False, False)}
PATIENCE_S = 30.0


@pytest.fixture
def space() -> Iterator[Path]:
    folder = open_directory("sr-malicious-")
    shutil.copytree(HERE / "malicious", folder / "space")
    yield folder / "space"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def targets(shared_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What it is after: things of the owner's, of a neighbour's, of the runner's, each really there."""
    monkeypatch.setenv("OWNERS_TOKEN", "owner-token")
    home = shared_settings.home_dir
    owner, neighbour = open_directory("sr-owner-"), shared_settings.space("neighbour").home
    owner.chmod(0o700)
    (owner / "secret").write_text("owner")
    neighbour.mkdir(parents=True, exist_ok=True, mode=0o700)
    (neighbour / "file").write_text("neighbour")
    os.chown(neighbour, shared_settings.uid_base + 4000, shared_settings.uid_base + 4000)
    token = home / "page-token"
    token.write_text("token")
    token.chmod(0o600)
    temporary = open_directory("sr-temporary-")
    (temporary / "file").write_text("somebody's")
    with (
        closing(socket.socket()) as tcp,
        closing(socket.socket(type=socket.SOCK_DGRAM)) as udp,
        closing(socket.socket(socket.AF_UNIX)) as abstract,
        closing(socket.socket(socket.AF_UNIX)) as path_socket,
    ):
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0sr-{os.getpid()}")
        path_socket.bind(str(temporary / "socket"))
        (temporary / "socket").chmod(0o777)
        for one in (tcp, abstract, path_socket):
            one.listen()
        yield {
            "owner": str(owner / "secret"),
            "home": str(owner),
            "database": str(shared_settings.database),
            "secrets": str(shared_settings.secrets_dir),
            "token": str(token),
            "neighbour": str(neighbour / "file"),
            "state": str(home),
            "environment": str(shared_settings.environments_dir),
            "temporary": str(temporary / "file"),
            "path_socket": str(temporary / "socket"),
            "abstract": f"sr-{os.getpid()}",
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "runner": os.getpid(),
        }
    for folder in (owner, temporary, neighbour.parent):
        shutil.rmtree(folder, ignore_errors=True)


def tried(space: Path, targets: dict[str, Any], settings: Settings) -> dict[str, bool]:
    """What the Space says that it got."""
    told = {**targets, "logs": str(settings.space("space").logs)}
    request = control.Request(
        ref=parse(str(space), settings), options=RunOptions(share=False, app_args=(json.dumps(told),))
    )
    space_id = control.start(request, settings).id
    try:
        status = looking.wait(space_id, settings, PATIENCE_S)
        assert status.stage is Stage.RUNNING, status
        assert status.local_url is not None
        found: dict[str, bool] = httpx.get(status.local_url, timeout=20, trust_env=False).json()
        return found
    finally:
        control.remove(space_id, settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a Space a user of its own")
@pytest.mark.parametrize("name", MEANS)
def test_the_malicious_space_gets_what_the_table_says(
    name: str, space: Path, targets: dict[str, Any], shared_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    enclosed, filtered = MEANS[name]
    found = Sandbox(holds=True, enclosed=enclosed, filtered=filtered, open=())
    monkeypatch.setattr(choice, "chosen", lambda _: found)
    got = {probe for probe, allowed in tried(space, targets, shared_settings).items() if allowed}
    assert got == {*TABLE["always"]["allowed"], *TABLE[name]["allowed"]}


def test_where_nothing_holds_nothing_is_started(
    space: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(battery, "MUST_HOLD", frozenset({"port"}))
    request = control.Request(ref=parse(str(space), settings))
    with pytest.raises(SandboxMissing, match="it could reach ports") as caught:
        control.start(request, settings)
    assert "--unsafe-no-sandbox" in caught.value.hint
    assert looking.statuses(settings) == ()


def test_what_was_found_out_holds_until_the_runner_or_the_boot_is_another(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = choice.chosen(settings)
    monkeypatch.setattr(choice, "examine", lambda _: pytest.fail("it was examined again"))
    assert choice.chosen(settings) == first
    again = Sandbox(holds=False, enclosed=False, filtered=False, open=("owner",))
    monkeypatch.setattr(choice, "examine", lambda _: again)
    monkeypatch.setattr(choice, "_state", lambda: "another boot")
    assert choice.chosen(settings) == again
