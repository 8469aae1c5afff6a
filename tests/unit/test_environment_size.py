"""How large an environment is: as its lock says, and where it stands."""

from __future__ import annotations

import os
from dataclasses import replace

from app.machine.environments import EnvironmentSize, measure, of_lock
from spaces_runner import environment
from spaces_runner.settings import Settings
from tests.unit.test_views import INSPECTION

LOCK = """
[[packages]]
name = "a-wheel"
version = "1"
sdist = { url = "https://index/a.tar.gz", size = 900 }
wheels = [{ url = "https://index/a.whl", size = 5 }]

[[packages]]
name = "a-source"
version = "1"
sdist = { url = "https://index/b.tar.gz", size = 70 }

[[packages]]
name = "an-archive"
archive = { url = "https://elsewhere/c.whl", size = 600 }

[[packages]]
name = "says-nothing"
version = "1"
wheels = [{ url = "https://index/d.whl" }]

[[packages]]
name = "of-a-repository"
vcs = { type = "git", url = "https://elsewhere/e.git", commit-id = "0123" }
"""


def test_what_is_fetched_is_the_file_that_is_installed() -> None:
    assert of_lock(LOCK) == EnvironmentSize(fetched=675, unknown=2)


def test_what_stands_is_measured_and_links_count_once(settings: Settings) -> None:
    ready = replace(INSPECTION, environment_ready=True)
    assert ready.resolution is not None
    folder = settings.environments_dir / environment.fingerprint(ready.resolution)
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "one").write_bytes(b"x" * 1000)
    os.link(folder / "lib" / "one", folder / "lib" / "two")
    (folder / "three").write_bytes(b"x" * 10)
    assert measure(ready, settings) == EnvironmentSize(disk=1010)


def test_of_a_container_nothing_is_known(settings: Settings) -> None:
    assert measure(replace(INSPECTION, resolution=None), settings) == EnvironmentSize()
