"""Names of Debian packages: which are taken, and what else they may be called. No program is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from spaces_runner.apt import names, provide
from spaces_runner.apt.provide import lacking
from spaces_runner.apt.system import System, network
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings

TABLE = names._rows()


@pytest.mark.parametrize(
    "text", ["ffmpeg", "g++", "libgl1", "libc6:i386", "curl=7.88.1-10+deb12u5", "python3.11-dev", "libsm6"]
)
def test_names_of_packages(text: str) -> None:
    assert names.valid(text)


@pytest.mark.parametrize(
    "text",
    ["ffmpeg-", "-y", "--force-yes", "-oDpkg::x=y", "./x.deb", "/tmp/x.deb", "a/stable", "https://x/y.deb", "Upper",
     "a b", "a;b", "a", "", "lib*", "x?", "^kde", "curl=", "curl=-", "a:b:c", "x\n"],
)  # fmt: skip
def test_what_apt_would_take_for_something_else(text: str) -> None:
    """A `-` at the end has apt-get remove the package; a leading one is an option, a `/` a release or a file."""
    assert not names.valid(text)
    assert names.alternatives(text) == ()


def test_other_names_of_the_same_thing() -> None:
    assert names.alternatives("libgl1-mesa-glx")[:2] == ("libgl1-mesa-glx", "libgl1")
    assert "libasound2t64" in names.alternatives("libasound2")
    assert names.alternatives("libgl1-mesa-glx:i386")[1] == "libgl1:i386"
    assert names.alternatives("libtiff5=4.2.0")[:2] == ("libtiff5=4.2.0", "libtiff6")


def test_every_row_of_the_table_names_packages() -> None:
    for name, instead in TABLE.items():
        assert instead
        assert all(names.valid(one) and one != name for one in (*instead, name) if one != name), name
    assert len(TABLE) > 50


def test_what_is_installed_under_another_name_is_not_asked_for(tmp_path: Path) -> None:
    for name in ("ffmpeg", "libgl1:amd64", "libasound2t64:amd64"):
        (tmp_path / f"{name}.list").touch()
    system = System(path="/nowhere", lists=tmp_path, environ={})
    asked = ("ffmpeg", "libgl1-mesa-glx", "libasound2", "curl=1.0", "fortune-mod", "bad-", "fortune-mod")
    assert lacking(asked, system) == ("curl=1.0", "fortune-mod")


def test_without_apt_the_finding_has_the_command(tmp_path: Path, settings: Settings) -> None:
    system = System(path="/nowhere", lists=tmp_path, environ={})
    for yes in (False, True):
        (finding,) = provide(("ffmpeg", "libgl1"), settings, Reporter(), yes=yes, system=system)
        assert finding.code == "system-packages"
        assert "ffmpeg, libgl1" in finding.message
        assert finding.remedy.endswith("sudo apt-get install --no-install-recommends ffmpeg libgl1")
    assert provide((), settings, Reporter(), yes=True, system=system) == ()


def test_apt_gets_the_way_to_the_network_and_nothing_else() -> None:
    environ = {"HF_TOKEN": "hf_x", "https_proxy": "http://proxy:1", "LD_PRELOAD": "/x.so", "APT_CONFIG": "/x"}
    assert network(environ) == {"https_proxy": "http://proxy:1"}
    assert System(path="/bin", environ=network(environ)).variables == {
        "https_proxy": "http://proxy:1",
        "PATH": "/bin",
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C.UTF-8",
    }
