"""A Space that the origin does not have, or does not show: told once by each face, and then nothing is left of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import spaces_runner
from app.desk import Desk
from spaces_runner import control, errors, looking
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.types import RunOptions, SpaceStatus, Stage
from tests.support.cli import Cli
from tests.support.hub import Hub

README = "---\ntitle: bad\nsdk: nonsense\n---\n"
SPACE = {"README.md": README, "app.py": "print('hello')\n"}
PATIENCE_S = 60.0


@pytest.fixture
def ours(settings: Settings, hub: Hub) -> Settings:
    """A Hub with one Space that is public, which fails once it is here, and one that is private."""
    hub.add_space("good/broken", SPACE)
    hub.add_space("good/private", SPACE, private=True)
    hub.accept("hf_valid")
    return replace(hub.settings(settings), hf_token="hf_valid")


@pytest.fixture
def without_token(ours: Settings) -> Settings:
    return replace(ours, hf_token=None)


def left(settings: Settings) -> list[Path]:
    """What there is of any Space: rooms, secrets, mirrors, and what waits to be deleted."""
    rooms = (settings.spaces_dir, settings.secrets_dir, settings.mirrors_dir, settings.home_dir / "trash")
    return [path for room in rooms if room.is_dir() for path in room.iterdir()]


def failed(source: str, settings: Settings) -> SpaceStatus:
    """The end of a run that nobody waited for."""
    request = control.Request(ref=parse(source, settings), secrets={"KEY": "secret-value"})
    return looking.wait(control.start(request, settings).id, settings, PATIENCE_S)


@pytest.mark.parametrize(
    ("source", "code"),
    [("nobody/nothing", "space_not_found"), ("good/broken@gone", "revision_not_found")],
)
@pytest.mark.parametrize("how", ["--detach", "--no-share"])
def test_the_command_line_tells_it_and_keeps_nothing(ours: Settings, source: str, code: str, how: str) -> None:
    cli = Cli(settings=ours)
    done = cli("run", source, how, "--secret", "KEY=secret-value", "--json")
    assert done.returncode == 1
    status = json.loads(done.stdout)
    assert (status["stage"], status["error"]["code"]) == ("BUILD_ERROR", code)
    assert status["error"]["message"] in done.stderr
    assert "spaces-runner logs" not in done.stderr, "there will be none"
    assert cli.data("ps") == []
    assert left(ours) == []


def test_a_private_space_is_not_kept_without_a_token(without_token: Settings) -> None:
    cli = Cli(settings=without_token)
    done = cli("run", "good/private", "--detach")
    assert done.returncode == 1
    assert "BUILD_ERROR in clone" in done.stderr
    assert cli.data("ps") == []
    assert left(without_token) == []


def test_one_that_nobody_waited_for_is_kept_until_it_was_looked_at(ours: Settings) -> None:
    cli = Cli(settings=ours)
    name = cli("run", "nobody/nothing", "--no-wait").stdout.strip()
    status = looking.wait(name, ours, PATIENCE_S)
    assert status.error
    assert cli("ps", "--quiet").stdout.split() == [name]
    assert cli("logs", name, "--build").returncode == 0
    shown = cli("ps")
    assert name in shown.stdout
    assert status.error.message in shown.stderr
    assert looking.statuses(ours) == ()
    assert left(ours) == []


def test_json_tells_it_once(ours: Settings) -> None:
    cli = Cli(settings=ours)
    failed("nobody/nothing", ours)
    assert [status["error"]["code"] for status in cli.data("ps")] == ["space_not_found"]
    assert cli.data("ps") == []


def test_the_python_api_raises_it_and_keeps_nothing(ours: Settings) -> None:
    with pytest.raises(errors.SpaceNotFound) as caught:
        spaces_runner.run("nobody/nothing", settings=ours, quiet=True, timeout=PATIENCE_S)
    assert caught.value.hint
    assert spaces_runner.spaces(settings=ours) == ()
    assert left(ours) == []


def test_the_page_shows_it_until_the_next_launch(ours: Settings) -> None:
    desk = Desk(ours)
    wrong = desk.launch("nobody/nothing", RunOptions(), {})
    looking.wait(wrong.id, ours, PATIENCE_S)
    for _ in range(2):
        [shown] = desk.spaces()
        assert shown.error and shown.error.code == "space_not_found"
    right = desk.launch("good/broken", RunOptions(), {})
    looking.wait(right.id, ours, PATIENCE_S)
    assert [status.id for status in desk.spaces()] == [right.id]


def test_what_is_there_and_fails_is_kept(ours: Settings) -> None:
    cli = Cli(settings=ours)
    done = cli("run", "good/broken", "--detach")
    assert done.returncode == 1
    assert "hint: spaces-runner logs good-broken --build" in done.stderr
    assert [status["stage"] for status in cli.data("ps")] == ["CONFIG_ERROR"]


def test_a_space_that_was_here_is_kept_when_it_is_gone_from_the_hub(ours: Settings, without_token: Settings) -> None:
    assert failed("good/private", ours).stage is Stage.CONFIG_ERROR
    again = failed("good/private", without_token)
    assert again.error and again.error.code == "access_denied"
    assert not control.forget_if_never_was(again, without_token)
    assert [status.id for status in looking.statuses(ours)] == [again.id]


def test_one_that_was_started_again_meanwhile_is_kept(ours: Settings) -> None:
    before = failed("nobody/nothing", ours)
    after = failed("nobody/nothing", ours)
    assert not control.forget_if_never_was(before, ours)
    assert control.forget_if_never_was(after, ours)
    assert not control.forget_if_never_was(after, ours), "it is gone"
