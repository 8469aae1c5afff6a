"""Which platform it is, and how long it leaves the machine."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from app import platforms
from spaces_runner.notebook import countdown
from spaces_runner.notebook.countdown import Countdown
from spaces_runner.notebook.host import GB, Host, detect

NAME = "n1abc2def.clg07azjl.paperspacegradient.com"


def test_gradient_keeps_caches_for_the_team_and_state_for_the_notebook(tmp_path: Path) -> None:
    environ = {"PAPERSPACE_FQDN": NAME, "SPACES_RUNNER_NOTEBOOK_ROOT": str(tmp_path)}
    assert detect(environ).shared is None, "neither is mounted"
    (tmp_path / "storage").mkdir()
    assert detect(environ).own == tmp_path / "storage"
    (tmp_path / "notebooks").mkdir()
    host = detect(environ)
    assert (host.platform, host.shared, host.own) == ("Gradient", tmp_path / "storage", tmp_path / "notebooks")
    assert (host.storage_bytes, host.hours, host.listen) == (5 * GB, 6, ("0.0.0.0", 6006))


def test_gradients_own_link_is_the_one_that_the_page_knows() -> None:
    proxy = platforms.proxy({"PAPERSPACE_FQDN": NAME})
    host = detect({"PAPERSPACE_FQDN": NAME})
    assert proxy and (proxy.url, proxy.port, proxy.platform) == (host.native, host.listen[1], host.platform)


def test_kaggle_passes_nothing_on(tmp_path: Path) -> None:
    (tmp_path / "kaggle/working").mkdir(parents=True)
    host = detect({"KAGGLE_KERNEL_RUN_TYPE": "Batch", "SPACES_RUNNER_NOTEBOOK_ROOT": str(tmp_path)})
    assert (host.platform, host.native, host.hours) == ("Kaggle", None, 12)
    assert host.own == host.shared == tmp_path / "kaggle/working"


@pytest.mark.parametrize("name", [None, "", "evil.example/x", "a b"])
def test_elsewhere_nothing_is_assumed(name: str | None) -> None:
    assert detect({} if name is None else {"PAPERSPACE_FQDN": name}) == Host()


@pytest.mark.parametrize("listen", ["6006", "0.0.0.0:", ":6006", "0.0.0.0:http", "0.0.0.0:70000"])
def test_an_address_that_cannot_be_meant_is_refused_by_name(listen: str) -> None:
    with pytest.raises(ValueError, match="SPACES_RUNNER_NOTEBOOK_LISTEN must be an address and a port"):
        detect({"PAPERSPACE_FQDN": NAME, "SPACES_RUNNER_NOTEBOOK_LISTEN": listen})


def test_the_hours_count_from_the_first_process() -> None:
    assert countdown.begin(2, "Gradient").ends == psutil.Process(1).create_time() + 7200
    assert countdown.begin(None, "").text(0) == ""


@pytest.mark.parametrize(
    ("left", "words", "near", "step"),
    [
        (7200, "Gradient stops this machine in 2h, at ", False, 30),
        (300, "in 5m, at", True, 30),
        (59, "in 59s, at", True, 5),
        (-1, "Gradient may stop this machine at any moment.", True, 5),
    ],
)
def test_what_is_said_of_the_time_that_is_left(left: float, words: str, near: bool, step: float) -> None:
    counted = Countdown(ends=10_000 + left, platform="Gradient")
    assert words in counted.text(10_000)
    assert (counted.near(10_000), counted.step(10_000)) == (near, step)
