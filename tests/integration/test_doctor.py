"""What `doctor` finds on real machines made to lack one thing."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import uv

from spaces_runner import doctor
from spaces_runner.doctor import Verdict
from spaces_runner.sandbox import battery
from spaces_runner.settings import Settings
from tests.support.share import Share

CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens


def offline(settings: Settings) -> Settings:
    return replace(settings, index_url=CLOSED, hf_endpoint=CLOSED, share_server=CLOSED)


def test_a_machine_that_can_launch_is_healthy(settings: Settings) -> None:
    checks = doctor.examine(offline(settings))
    assert doctor.healthy(checks), checks
    assert {"python", "git", "uv", "home", "disk", "database", "gpu"} <= {check.name for check in checks}
    assert all(check.remedy for check in checks if check.verdict is not Verdict.OK)


def test_what_is_out_of_reach_is_a_warning_with_a_remedy(settings: Settings) -> None:
    for check in (doctor.package_index, doctor.hub, doctor.share_server):
        found = check(offline(settings))
        assert found.verdict is Verdict.WARN
        assert "cannot be reached" in found.detail


def test_a_server_that_answers_is_reached(settings: Settings, share: Share) -> None:
    assert doctor.share_server(share.settings(settings)).verdict is Verdict.OK


def test_a_server_that_never_answers_costs_three_seconds(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        found = doctor.hub(replace(settings, hf_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert found.verdict is Verdict.WARN
    assert time.monotonic() - begun < doctor.NETWORK_TIMEOUT_S + 2


def test_a_password_in_an_address_is_not_shown(settings: Settings) -> None:
    found = doctor.package_index(replace(settings, index_url="http://me:hidden@127.0.0.1:9/simple"))
    assert "hidden" not in found.detail + found.remedy


def test_without_git_nothing_starts(settings: Settings, tmp_path: Path) -> None:
    bare = replace(settings, path=str(tmp_path))
    assert doctor.git(bare).verdict is Verdict.FAIL
    assert doctor.git_lfs(bare).verdict is Verdict.WARN


def test_without_uv_the_other_checks_are_made(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FileNotFoundError("uv")

    monkeypatch.setattr(uv, "find_uv_bin", missing)
    checks = {check.name: check for check in doctor.examine(offline(settings))}
    assert checks["uv"].verdict is Verdict.FAIL
    assert checks["package-index"].verdict is Verdict.WARN
    assert "no uv" in checks["package-index"].detail


def test_the_sandbox_is_told_with_what_it_leaves_open(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor.sandbox(settings)
    assert found.verdict is Verdict.OK, found
    assert "Landlock, seccomp" in found.detail
    assert found.detail.endswith("can still reach: ports of this machine's loopback")
    monkeypatch.setattr(battery, "MEANS", ((False, True),))
    assert doctor.sandbox(settings).verdict is Verdict.WARN
    monkeypatch.setattr(battery, "MUST_HOLD", frozenset({"port"}))
    assert doctor.sandbox(settings).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((2, 39, 3), False),
        ((2, 39, 4), True),
        ((2, 44, 0), False),
        ((2, 46, 0), True),
        ((2, 30, 9), False),
        ((3, 0, 0), True),
    ],
)
def test_git_releases_with_the_fixes_are_known(version: tuple[int, int, int], safe: bool) -> None:
    assert doctor.safe_git(*version) is safe


def test_a_small_disk_prevents_launches(settings: Settings) -> None:
    assert doctor.disk(replace(settings, disk_floor_bytes=2**60)).verdict is Verdict.FAIL


def test_a_damaged_database_is_found(settings: Settings) -> None:
    settings.database.write_bytes(b"SQLite format 3\x00" + b"damaged" * 1000)
    found = doctor.database(settings)
    assert found.verdict is Verdict.FAIL
    assert str(settings.database) in found.detail


def test_a_sound_database_is_left_as_it_is(settings: Settings) -> None:
    with sqlite3.connect(settings.database) as connection:
        connection.execute("create table one (two)")
    connection.close()
    before = settings.database.read_bytes()
    assert doctor.database(settings).verdict is Verdict.OK
    assert settings.database.read_bytes() == before


def test_a_home_that_others_cannot_enter(settings: Settings) -> None:
    closed = settings.home_dir / "closed"
    closed.mkdir(mode=0o700)
    found = doctor.home_open(replace(settings, home=str(closed / "state")))
    assert found.verdict is (Verdict.FAIL if os.geteuid() == 0 else Verdict.OK)
    if os.geteuid() == 0:
        assert str(closed) in found.remedy


def test_a_home_that_is_a_file_prevents_launches(settings: Settings) -> None:
    file = settings.home_dir / "file"
    file.touch()
    assert doctor.home(replace(settings, home=str(file))).verdict is Verdict.FAIL


def test_it_starts_afresh_every_time(settings: Settings) -> None:
    """Its checks run side by side, and import what they need: in a fresh process, as a person's."""
    environ = {**os.environ, "SPACES_RUNNER_HOME": settings.home}
    for _ in range(4):
        line = [sys.executable, "-m", "spaces_runner", "doctor", "--json"]
        done = subprocess.run(line, env=environ, capture_output=True, text=True, check=False, timeout=60)
        assert "Traceback" not in done.stderr, done.stderr
        assert {check["name"] for check in json.loads(done.stdout)} >= {"uv", "pythons", "package-index"}
