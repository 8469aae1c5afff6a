"""Models fetched once by the real client and found by the real client in a Space's own cache."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner import models
from spaces_runner.errors import ModelsTooLarge
from spaces_runner.settings import Settings
from spaces_runner.types import Found, Stage, Step, User
from tests.support.checkouts import Told
from tests.support.hub import Hub
from tests.support.hub_repos import Contents

TOKEN = "hf_averysecrettoken0123456789"
WEIGHTS = os.urandom(50_000)
FILES: Contents = {"config.json": "{}", "sub/w.bin": WEIGHTS, "other.txt": "o"}
AS_ROOT = os.geteuid() == 0
FIND = """
import os, sys
from huggingface_hub import hf_hub_download
name, uid = sys.argv[1], int(sys.argv[2])
if uid:  # the interpreter may lie where this user cannot go, so it is loaded first
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
path = hf_hub_download("o/m", name, local_files_only=True)
with open(path, "rb") as file:
    print(len(file.read()))
try:
    open(path, "r+b").close()
    print("written")
except PermissionError:
    print("refused")
"""


@pytest.fixture
def at_hub(settings: Settings, hub: Hub) -> Settings:
    return hub.settings(settings)


@pytest.fixture
def user() -> User | None:
    return User(uid=61990, gid=61990) if AS_ROOT else None


def home_of(settings: Settings, name: str, user: User | None) -> Path:
    """The HF_HOME of a Space whose home directory is its own."""
    home = settings.space(name).home
    home.mkdir(parents=True)
    if user:
        os.chown(home, user.uid, user.gid)
    return home / ".cache" / "huggingface"


def find(hf_home: Path, name: str, user: User | None) -> list[str]:
    """What the Space's own process says of a file of the model."""
    environment = {"HF_HOME": str(hf_home), "HOME": str(hf_home.parent), "PYTHONPATH": os.pathsep.join(sys.path)}
    code = [sys.executable, "-c", FIND, name, str(user.uid if user else 0)]
    done = subprocess.run(code, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_entry_is_a_model_with_files_and_a_revision() -> None:
    assert models.parse_entry("o/m") == models.Preload(repo="o/m")
    assert models.parse_entry("o/m a.bin,b/c.bin") == models.Preload(repo="o/m", files=("a.bin", "b/c.bin"))
    assert models.parse_entry("gpt2 config.json abc123").revision == "abc123"


def test_a_model_is_fetched_once_and_found_by_every_space(at_hub: Settings, hub: Hub, user: User | None) -> None:
    hub.add_model("o/m", FILES, lfs=("*.bin",))
    assert models.prefetch(("o/m",), at_hub, Told().reporter) == ()
    fetched = hub.served("resolve"), hub.served("api")
    assert models.prefetch(("o/m",), at_hub, Told().reporter) == ()
    assert (hub.served("resolve"), hub.served("api")) == fetched
    blobs = list((at_hub.models_dir / "models--o--m" / "blobs").iterdir())
    for name in ("one", "two"):
        hf_home = home_of(at_hub, name, user)
        for _ in range(2):
            models.share(at_hub, hf_home, user)
        assert find(hf_home, "sub/w.bin", user) == ["50000", "refused"]
        mine = list((hf_home / "hub" / "models--o--m" / "blobs").iterdir())
        assert {path.stat().st_ino for path in mine} == {path.stat().st_ino for path in blobs}
    assert WEIGHTS in [path.read_bytes() for path in blobs]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o444 for path in blobs)


def test_each_models_bytes_are_told_with_its_name(at_hub: Settings, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_LOOK_EVERY_S", 0.001)
    hub.add_model("o/m", FILES, lfs=("*.bin",))
    hub.add_model("o/small", {"config.json": "{}"})
    told = Told()
    models.prefetch(("o/m", "o/small"), at_hub, told.reporter)
    said = told.progress(Step.MODELS, "bytes")
    big = [event for event in said if event.what == "o/m"]
    assert len(big) > 1
    assert [event.done for event in big] == sorted(event.done for event in big)
    assert len(WEIGHTS) < big[-1].done == big[-1].total
    assert {event.total for event in big} == {big[-1].total}
    assert (said[-1].what, said[-1].done, said[-1].total) == ("o/small", 2, 2)
    again = Told()
    models.prefetch(("o/m",), at_hub, again.reporter)
    assert again.events == []


def test_only_the_named_files_of_a_revision(at_hub: Settings, hub: Hub) -> None:
    sha = hub.add_model("o/m", FILES, lfs=("*.bin",))
    assert models.prefetch((f"o/m config.json,sub/w.bin {sha}",), at_hub, Told().reporter) == ()
    found = {
        path.name for path in (at_hub.models_dir / "models--o--m" / "snapshots" / sha).rglob("*") if path.is_file()
    }
    assert found == {"config.json", "w.bin"}


def test_what_the_owners_token_opens_is_not_fetched_for_spaces(at_hub: Settings, hub: Hub) -> None:
    hub.add_model("o/m", FILES, private=True)
    hub.accept(TOKEN)
    told = Told()
    (finding,) = models.prefetch(("o/m",), at_hub, told.reporter)
    assert finding.code == "model-not-preloaded"
    assert [event.finding for event in told.events if isinstance(event, Found)] == [finding]
    assert models.prefetch(("o/m",), replace(at_hub, hf_token=TOKEN), told.reporter) == (finding,)
    assert not list(at_hub.models_dir.rglob("blobs/*"))
    assert "HF_TOKEN" in finding.remedy


@pytest.mark.parametrize("entry", ["", "a b c d", "../../etc", "o/m file.bin -x", "https://x/y", "o/missing"])
def test_an_entry_that_cannot_be_fetched_is_a_finding(at_hub: Settings, hub: Hub, entry: str) -> None:
    (finding,) = models.prefetch((entry,), at_hub, Told().reporter)
    assert finding.code == "model-not-preloaded"
    assert finding.lines


def test_a_disk_that_is_too_small(at_hub: Settings, hub: Hub) -> None:
    hub.add_model("o/m", FILES, lfs=("*.bin",))
    with pytest.raises(ModelsTooLarge) as caught:
        models.prefetch(("o/m",), replace(at_hub, disk_floor_bytes=1 << 60), Told().reporter)
    info = caught.value.info
    assert (info.code, info.stage, info.step) == ("models_too_large", Stage.BUILD_ERROR, Step.MODELS)
    assert not list(at_hub.models_dir.rglob("blobs/*"))


@pytest.mark.skipif(not AS_ROOT, reason="without root a Space is the same user, and there is nothing to gain")
def test_links_that_a_space_left_in_its_home_are_not_followed(at_hub: Settings, hub: Hub, user: User | None) -> None:
    hub.add_model("o/m", FILES)
    models.prefetch(("o/m",), at_hub, Told().reporter)
    victim = at_hub.home_dir / "victim"
    victim.mkdir()
    hf_home = home_of(at_hub, "one", user)
    (hf_home / "hub" / "models--o--m").mkdir(parents=True)
    (hf_home / "hub" / "models--o--m" / "blobs").symlink_to(victim)
    models.share(at_hub, hf_home, user)
    assert list(victim.iterdir()) == []
    assert victim.stat().st_uid == 0


def test_the_spaces_own_files_stay(at_hub: Settings, hub: Hub, user: User | None) -> None:
    hub.add_model("o/m", FILES)
    models.prefetch(("o/m",), at_hub, Told().reporter)
    hf_home = home_of(at_hub, "one", user)
    refs = hf_home / "hub" / "models--o--m" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("f" * 40)
    models.share(at_hub, hf_home, user)
    assert (refs / "main").read_text() == "f" * 40
