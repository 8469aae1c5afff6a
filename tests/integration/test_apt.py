"""packages.txt by the real apt-get and dpkg, in a root directory of their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from spaces_runner.apt import provide
from spaces_runner.errors import AptFailed
from spaces_runner.settings import Settings
from spaces_runner.types import Stage, Step, StepFinished
from tests.support.apt import Machine
from tests.support.cases import CORPUS
from tests.support.checkouts import Told
from tests.support.cli import Cli
from tests.support.home import open_directory

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("apt-get"), reason="packages are installed by root alone, and by apt-get"
)


@pytest.fixture
def machine() -> Iterator[Machine]:
    root = open_directory("sr-apt-")
    made = Machine.make(root / "root")
    made.package("fortune", Recommends="cookies")
    made.package("cookies")
    made.package("libgl1")
    made.package("libfort2t64")
    yield made
    shutil.rmtree(root)


def test_what_is_missing_is_installed_by_the_name_that_it_has_here(machine: Machine, settings: Settings) -> None:
    told = Told()
    asked = ("fortune", "libgl1-mesa-glx", "libfort2")
    assert provide(asked, settings, told.reporter, yes=True, system=machine.system) == ()
    assert [machine.has(name) for name in ("fortune", "libgl1", "libfort2t64", "cookies")] == [True, True, True, False]
    assert "libgl1-mesa-glx is called libgl1 here" in told.lines
    assert any(line.startswith("Setting up fortune") for line in told.lines)
    last = told.progress(Step.PACKAGES, "packages")[-1]
    assert (last.done, last.total) == (3, 3)
    [ended] = [event for event in told.events if isinstance(event, StepFinished)]
    assert (ended.step, ended.note) == (Step.PACKAGES, "fortune libgl1 libfort2t64")
    before = machine.asked
    assert provide(asked, settings, told.reporter, yes=True, system=machine.system) == ()
    assert machine.asked == before  # dpkg's files tell that all of it is here


def test_without_a_yes_nothing_is_installed_and_the_command_is_exact(machine: Machine, settings: Settings) -> None:
    machine.system.run((f"{machine.root}/tools/apt-get", "update"), lambda _: None, 60.0)
    (finding,) = provide(("libgl1-mesa-glx", "unheard-of"), settings, Told().reporter, yes=False, system=machine.system)
    assert finding.remedy == "Launch with --apt, or:  apt-get install --no-install-recommends libgl1 unheard-of"
    assert not [line for line in machine.asked if "install" in line]


def test_who_is_not_root_is_told_the_command(
    machine: Machine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (finding,) = provide(("fortune",), settings, Told().reporter, yes=True, system=machine.system)
    assert finding.remedy.endswith("Type:  sudo apt-get install --no-install-recommends fortune")
    assert not machine.has("fortune")


def test_a_package_that_nobody_has_is_a_typed_failure(machine: Machine, settings: Settings) -> None:
    with pytest.raises(AptFailed, match="unheard-of, which this system's package lists do not have") as caught:
        provide(("fortune", "unheard-of"), settings, Told().reporter, yes=True, system=machine.system)
    info = caught.value.info
    assert (info.code, info.stage, info.step) == ("apt_failed", Stage.BUILD_ERROR, Step.PACKAGES)
    assert "--apt" in info.hint
    assert not machine.has("fortune")


def test_a_name_is_no_pattern(machine: Machine, settings: Settings) -> None:
    """apt-get takes what no package is called for a regular expression where it has a dot."""
    with pytest.raises(AptFailed):
        provide(("f.rt",), settings, Told().reporter, yes=True, system=machine.system)
    assert not machine.has("fortune")


def test_a_failure_has_the_lines_that_matter(machine: Machine, settings: Settings) -> None:
    machine.package("needy", Depends="unheard-of")
    told = Told()
    with pytest.raises(AptFailed, match="apt-get could not install needy") as caught:
        provide(("needy",), settings, told.reporter, yes=True, system=machine.system)
    assert any("Depends: unheard-of" in line for line in caught.value.lines)
    assert any(line.startswith("E: ") for line in caught.value.lines)
    assert set(caught.value.lines) <= set(told.lines)


def test_what_an_interrupted_installation_left_is_put_right(machine: Machine, settings: Settings) -> None:
    left = "Package: left\nStatus: install ok installed\nMaintainer: T <t@example.org>\nArchitecture: all\n"
    (machine.root / "var/lib/dpkg/updates/0001").write_text(f"{left}Version: 1.0\nDescription: left\n")
    assert provide(("fortune",), settings, Told().reporter, yes=True, system=machine.system) == ()
    assert machine.has("fortune")
    assert "dpkg --configure -a" in machine.asked


def test_installing_has_a_deadline(machine: Machine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spaces_runner.apt.install.INSTALL_S", 0.5)
    machine.tool("apt-get", 'case "$*" in *install*) sleep 30;; *) exec /usr/bin/apt-get "$@";; esac')
    machine.tool("apt-cache", "printf 'fortune:\\n  Candidate: 1.0\\n'")
    with pytest.raises(AptFailed, match="did not end in time"):
        provide(("fortune",), settings, Told().reporter, yes=True, system=machine.system)


@pytest.mark.network_index
def test_a_launch_with_the_owners_yes(machine: Machine, shared_settings: Settings, tmp_path: Path) -> None:
    space = open_directory("sr-apt-space-") / "space"
    shutil.copytree(CORPUS / "serve-standard-library", space)
    (space / "packages.txt").write_text("fortune\n")
    cli = Cli(settings=shared_settings)
    try:
        for words, here in (([], False), (["--apt"], True)):
            done = cli("run", str(space), "--detach", "--no-share", *words, timeout=120, PATH=machine.path)
            assert done.returncode == 0, done.stderr
            assert machine.has("fortune") is here
            assert ("packages.txt asks for fortune" in done.stderr) is not here
            assert ("packages" in [line.split()[0] for line in done.stderr.splitlines() if line]) is here
            cli("rm", "--force", done.stdout.strip())
    finally:
        shutil.rmtree(space.parent)
