"""Large files: real git-lfs against our LFS server, which counts and misbehaves on request, and against giftless."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import stat
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner.checkout import look, room
from spaces_runner.checkout.lfs import parse_pointer
from spaces_runner.errors import DiskTooSmall, LfsFailed
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.types import Step
from tests.support.checkouts import Told, contents, leftovers, take
from tests.support.giftless import serve_giftless
from tests.support.hub import Hub
from tests.support.hub_faults import Fault
from tests.support.hub_repos import Contents, Executable, Raw, pointer

APP = {"app.py": "print('hi')\n"}
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can share a file that another user cannot change")


@pytest.fixture
def at_hub(settings: Settings, hub: Hub) -> Settings:
    return hub.settings(settings)


def objects(settings: Settings) -> dict[str, Path]:
    """The LFS objects in all mirrors, by hash."""
    return {path.name: path for path in settings.mirrors_dir.glob("*.git/lfs/objects/*/*/*")}


def test_large_files_arrive_with_progress_in_bytes_and_objects(at_hub: Settings, hub: Hub) -> None:
    files = {"a.bin": b"a" * 3000, "deep/b.bin": os.urandom(2_000_000), "same.bin": b"a" * 3000, "no.bin": b""}
    hub.add_space("o/n", {**APP, **files}, lfs=("[abs]*.bin", "deep/*.bin"))
    told = Told()
    checkout = take("o/n", at_hub, told)
    assert {name: content for name, content in contents(Path(checkout.path)).items() if name in files} == files
    assert checkout.lfs_bytes == 2_006_000
    assert told.progress(Step.LFS, "bytes")[-1].done == told.progress(Step.LFS, "bytes")[-1].total == 2_003_000
    assert told.progress(Step.LFS, "objects")[-1].done == 3
    assert hub.served("lfs-object").requests == 2


def test_another_lfs_server_serves_them_as_well(at_hub: Settings, hub: Hub) -> None:
    files = {"a.bin": b"a" * 3000, "deep/b.bin": os.urandom(2_000_000)}
    hub.add_space("o/n", {**APP, **files}, lfs=("*.bin",))
    (hub.root / "giftless" / "o").mkdir(parents=True)
    (hub.root / "giftless" / "o" / "n").symlink_to(hub.root / "lfs")
    with serve_giftless(hub.root / "giftless") as hub.lfs_server:
        checkout = take("o/n", at_hub)
        assert {name: content for name, content in contents(Path(checkout.path)).items() if name in files} == files
        hub.commit("o/n", {"c.bin": b"c" * 4000, "lost.bin": b"l" * 5000})
        (hub.root / "lfs" / hashlib.sha256(b"l" * 5000).hexdigest()).unlink()
        with pytest.raises(LfsFailed, match=r"did not arrive whole: lost\.bin") as caught:
            take("o/n", at_hub)
        assert caught.value.hint.startswith("They are not on the server")
    assert hub.served("lfs-object").requests == 0, "ours was not asked"


@AS_ROOT
def test_a_space_shares_the_object_and_cannot_change_it(at_hub: Settings, hub: Hub) -> None:
    hub.add_space(
        "o/n", {**APP, "m.bin": b"m" * 5000, "run.bin": Executable(b"#!/bin/sh\n" + b"#" * 500)}, lfs=("*.bin",)
    )
    laid_out = Path(take("o/n", at_hub).path) / "m.bin"
    (original,) = [path for path in objects(at_hub).values() if path.stat().st_size == 5000]
    assert laid_out.samefile(original)
    assert (stat.S_IMODE(laid_out.stat().st_mode), laid_out.stat().st_uid) == (0o444, 0)
    code = "import sys,pathlib\ntry: pathlib.Path(sys.argv[1]).open('r+')\nexcept PermissionError: print('refused')"
    laid_out.parent.chmod(0o777)
    attempt = subprocess.run(
        ["python3", "-c", code, str(laid_out)],
        user=61999,
        group=61999,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    assert attempt.stdout == b"refused\n"
    executable = laid_out.with_name("run.bin")
    assert os.access(executable, os.X_OK)
    assert executable.stat().st_nlink == 1


def test_the_address_in_the_repository_is_never_asked(at_hub: Settings, hub: Hub) -> None:
    """`.lfsconfig` can name any address, also one inside the owner's network."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(30)

        def listen() -> None:
            try:
                trap.accept()[0].close()
            except OSError:
                return
            asked.set()

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x"
        config = f'[lfs]\n\turl = {url}\n\tpushurl = {url}\n\tfetchexclude = *\n[remote "origin"]\n\tlfsurl = {url}\n'
        hub.add_space("o/n", {**APP, ".lfsconfig": config, "m.bin": b"m" * 5000}, lfs=("*.bin",))
        assert contents(Path(take("o/n", at_hub).path))["m.bin"] == b"m" * 5000
        hub.commit("o/n", {"m2.bin": b"2" * 5000})
        assert contents(Path(take("o/n", at_hub).path))["m2.bin"] == b"2" * 5000
        assert not asked.is_set()
        trap.shutdown(socket.SHUT_RDWR)
    listener.join(timeout=30)
    assert not asked.is_set()


def test_a_look_fetches_only_what_says_how_the_space_is_built(at_hub: Settings, hub: Hub) -> None:
    """By names that git-lfs's patterns would read otherwise, too; and nothing is fetched a second time."""
    read = {"app.py": b"print(1)\n", "a,b/*[x] requirements.txt": b"numpy\n", "wheels/x-1-py3-none-any.whl": b"w" * 200}
    left = {"model.bin": b"m" * 50_000, "sub/requirements.txt.bin": b"r" * 300, "captions.txt": b"c" * 400,
            "data.py": b"#" * 2_000_000}  # fmt: skip
    many = {f"src/{number}.py": f"x = {number}\n".encode() for number in range(30)}
    hub.add_space("o/n", {"README.md": "---\nsdk: gradio\n---\n", **read, **left, **many}, lfs=("*.*",))
    ref, target = parse("o/n", at_hub), at_hub.space("one").app
    checkout = look(ref, target, at_hub, Told().reporter)
    found = contents(target)
    assert {name: found[name] for name in read | left | many} == {**read, **dict.fromkeys(left, b""), **many}
    sizes = {file.path: (file.size_bytes, file.lfs) for file in checkout.files}
    assert {name: sizes[name] for name in read | left} == {
        name: (len(content), True) for name, content in (read | left).items()
    }
    assert sum(size for size, _ in sizes.values()) == checkout.size_bytes
    served = hub.served("lfs-object")
    assert served.requests == len(read) + len(many) + 1  # and README.md
    look(ref, target, at_hub, Told().reporter)
    assert hub.served("lfs-object") == served
    assert contents(Path(take("o/n", at_hub).path))["model.bin"] == left["model.bin"]
    assert leftovers(at_hub) == []


def test_a_look_needs_no_room_for_large_files(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", {**APP, "m.bin": b"m" * 5000}, lfs=("*.bin",))
    free = shutil.disk_usage(at_hub.home_dir).free
    hub.commit("o/n", {"huge.bin": Raw(pointer(b"x").replace(b"size 1", f"size {2 * free}".encode()))})
    with pytest.raises(DiskTooSmall):
        take("o/n", at_hub)
    checkout = look(parse("o/n", at_hub), at_hub.space("one").app, at_hub, Told().reporter)
    assert checkout.lfs_bytes == 5000 + 2 * free
    assert hub.served("lfs-object").requests == 0


def test_a_cut_download_goes_on_in_the_same_launch(at_hub: Settings, hub: Hub) -> None:
    model = os.urandom(1_000_000)
    hub.add_space("o/n", {**APP, "m.bin": model}, lfs=("*.bin",))
    hub.misbehave(Fault(route="lfs-object", times=1, drop_after=600_000))
    assert contents(Path(take("o/n", at_hub).path))["m.bin"] == model
    served = hub.served("lfs-object")
    assert (served.requests, served.ranges, served.bytes) == (2, 1, 1_000_000)


def test_an_interrupted_download_goes_on_in_the_next_launch(at_hub: Settings, hub: Hub) -> None:
    model, small = os.urandom(1_000_000), os.urandom(5000)
    hub.add_space("o/n", {**APP, "m.bin": model, "small.bin": small}, lfs=("*.bin",))
    hub.misbehave(Fault(route="lfs-batch", times=99, status=503))
    with pytest.raises(LfsFailed):
        take("o/n", at_hub)
    hub.behave()
    (mirror,) = at_hub.mirrors_dir.glob("*.git")
    part = mirror / "lfs" / "incomplete" / f"{hashlib.sha256(model).hexdigest()}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(model[:600_000])  # as git-lfs leaves it when it is killed
    told = Told()
    assert contents(Path(take("o/n", at_hub, told).path))["m.bin"] == model
    served = hub.served("lfs-object")
    assert (served.ranges, served.bytes) == (1, 405_000)


def test_every_connection_cut_ends_in_an_error_and_nothing_half_made(at_hub: Settings, hub: Hub) -> None:
    model = os.urandom(1_000_000)
    hub.add_space("o/n", {**APP, "m.bin": model}, lfs=("*.bin",))
    hub.misbehave(Fault(route="lfs-object", times=999, drop_after=1000))
    with pytest.raises(LfsFailed, match=r"m\.bin") as caught:
        take("o/n", at_hub)
    assert "goes on where it stopped" in caught.value.hint
    assert not at_hub.space("one").app.exists()
    assert leftovers(at_hub) == []
    arrived = hub.served("lfs-object").bytes
    hub.behave()
    assert contents(Path(take("o/n", at_hub).path))["m.bin"] == model
    assert hub.served("lfs-object").bytes == 1_000_000
    assert arrived > 1000


@pytest.mark.parametrize(
    "fault", [Fault(route="lfs-object", times=999, corrupt=True), Fault(route="lfs-object", times=999, short=True)]
)
def test_a_corrupt_or_short_object_is_never_laid_out(at_hub: Settings, hub: Hub, fault: Fault) -> None:
    hub.add_space("o/n", {**APP, "model.bin": b"m" * 50_000, "good.dat": b"g"}, lfs=("*.bin",))
    hub.misbehave(replace(fault))
    with pytest.raises(LfsFailed, match=r"model\.bin"):
        take("o/n", at_hub)
    assert not at_hub.space("one").app.exists()
    hub.behave()
    assert contents(Path(take("o/n", at_hub).path))["model.bin"] == b"m" * 50_000


def test_a_missing_object_is_named(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", {**APP, "gone.bin": Raw(pointer(b"never pushed")), "here.bin": b"h" * 500}, lfs=("*.bin",))
    with pytest.raises(LfsFailed, match=r"gone\.bin\.$") as caught:
        take("o/n", at_hub)
    assert "not on the server" in caught.value.hint
    assert caught.value.lines


def test_a_pointer_that_lies_about_its_size(at_hub: Settings, hub: Hub) -> None:
    honest = pointer(b"m" * 5000)
    hub.add_space("o/n", {**APP, "m.bin": b"m" * 5000, "lie.bin": Raw(honest.replace(b"5000", b"12"))}, lfs=("m.bin",))
    with pytest.raises(LfsFailed):
        take("o/n", at_hub)


def test_an_object_that_rotted_in_the_mirror_before_it_was_verified(at_hub: Settings, hub: Hub) -> None:
    """A machine that loses power leaves a file of the right length and the wrong bytes."""
    hub.add_space("o/n", {**APP, "m.bin": b"m" * 5000}, lfs=("*.bin",))
    take("o/n", at_hub)
    (rotten,) = objects(at_hub).values()
    rotten.chmod(0o644)
    rotten.write_bytes(b"x" * 5000)
    with pytest.raises(LfsFailed):
        take("o/n", at_hub)
    assert contents(Path(take("o/n", at_hub).path))["m.bin"] == b"m" * 5000


def needs(settings: Settings, space: str) -> str:
    """What the refusal says that the Space's files need on a disk that is always too small."""
    with pytest.raises(DiskTooSmall) as caught:
        take(space, replace(settings, disk_floor_bytes=shutil.disk_usage(settings.home_dir).total))
    found = re.search(r"need (.*) more, and [\d.]+ GB are free \([\d.]+ GB of them stay free\)", caught.value.message)
    assert found is not None
    return found[1]


def test_the_disk_is_looked_at_before_anything_is_fetched(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", {**APP, "m.bin": b"m" * 5_000_000}, lfs=("*.bin",))
    needs(at_hub, "o/n")
    assert hub.served("lfs-batch").requests == 0


def test_what_is_copied_into_the_tree_counts_twice(at_hub: Settings, hub: Hub) -> None:
    files: Contents = {**APP, "m.bin": b"m" * 5_000_000, "run.bin": Executable(b"#" * 20_000_000)}
    hub.add_space("o/n", files, lfs=("*.bin",))
    how = room.sharing(at_hub.home_dir, at_hub.home_dir)
    copied = sum(size for size, executable in ((5, False), (20, True)) if how.copies(executable))
    assert needs(at_hub, "o/n") == f"{25 + copied:.2f} MB"
    take("o/n", at_hub)
    assert needs(at_hub, "o/n") == f"{copied:.2f} MB", "the objects are here, and the tree is laid out anew"


def test_what_an_interrupted_fetch_left_need_not_be_written_again(at_hub: Settings, hub: Hub) -> None:
    content = b"m" * 5_000_000
    hub.add_space("o/n", {**APP, "m.bin": content}, lfs=("*.bin",))
    target = at_hub.space("one").app
    look(parse("o/n", at_hub), target, at_hub, Told().reporter)  # the mirror is here, the object is not
    (mirror,) = at_hub.mirrors_dir.glob("*.git")
    part = mirror / "lfs" / "incomplete" / f"{hashlib.sha256(content).hexdigest()}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content[:3_000_000])
    copied = 5 if room.sharing(at_hub.home_dir, at_hub.home_dir).copies(is_executable=False) else 0
    assert needs(at_hub, "o/n") == f"{2 + copied:.2f} MB"


@AS_ROOT
def test_how_files_are_shared_is_tried(settings: Settings) -> None:
    (settings.home_dir / "a").mkdir()
    (settings.home_dir / "b").mkdir()
    near = room.sharing(settings.home_dir / "a", settings.home_dir / "b")
    assert near.names
    assert near.copies(is_executable=True) is not near.blocks
    assert not near.copies(is_executable=False)
    far = room.sharing(settings.home_dir / "a", Path("/dev/shm"))
    assert far == room.Sharing(names=False, blocks=False)
    assert far.copies(is_executable=False)
    assert not list(settings.home_dir.rglob("tmp-*"))
    assert not list(Path("/dev/shm").glob("tmp-*"))


def test_each_disk_must_hold_what_is_written_to_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {settings.home_dir.stat().st_dev: 100 * 10**6, Path("/dev/shm").stat().st_dev: 10 * 10**6}

    class Usage:
        def __init__(self, path: Path) -> None:
            self.free = free[Path(path).stat().st_dev]

    monkeypatch.setattr(shutil, "disk_usage", Usage)
    (settings.home_dir / "other").mkdir()
    floor = replace(settings, disk_floor_bytes=0)
    near, beside, far = settings.home_dir, settings.home_dir / "other", Path("/dev/shm")
    room.require({near: 60 * 10**6, beside: 40 * 10**6, far: 10 * 10**6}, floor)
    with pytest.raises(DiskTooSmall, match=r"need 0\.1 GB") as caught:
        room.require({near: 60 * 10**6, beside: 50 * 10**6, far: 0}, floor)
    assert caught.value.lines == (str(near), str(beside))
    with pytest.raises(DiskTooSmall, match=r"need 11\.00 MB") as caught:
        room.require({near: 0, far: 11 * 10**6}, floor)
    assert caught.value.lines == ("/dev/shm",)


def test_git_lfs_that_is_not_installed(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/plain", APP)
    hub.add_space("o/n", {**APP, "m.bin": b"m" * 5000}, lfs=("*.bin",))
    tools = at_hub.home_dir / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(shutil.which("git") or "")
    without = replace(at_hub, path=str(tools))
    assert take("o/plain", without).commit
    with pytest.raises(LfsFailed, match="git-lfs") as caught:
        take("o/n", without)
    assert "apt-get install git-lfs" in caught.value.hint


def test_a_server_that_refuses_without_a_challenge_is_given_up(at_hub: Settings, hub: Hub) -> None:
    """git-lfs waits for good then."""
    hub.add_space("o/n", {**APP, "m.bin": b"x" * 3000}, lfs=("*.bin",))
    hub.misbehave(Fault(route="lfs-object", times=1000, status=401, challenge=False))
    with pytest.raises(LfsFailed, match="has arrived for 5 s") as caught:
        take("o/n", replace(at_hub, network_stall_s=1))
    assert "hf auth login" in caught.value.hint


def test_a_stall_ends_and_the_next_launch_goes_on(at_hub: Settings, hub: Hub) -> None:
    model = os.urandom(300_000)
    hub.add_space("o/n", {**APP, "m.bin": model}, lfs=("*.bin",))
    hub.misbehave(Fault(route="lfs-object", times=1, stall_after=100_000, stall_s=20))
    assert contents(Path(take("o/n", replace(at_hub, network_stall_s=2)).path))["m.bin"] == model
    assert hub.served("lfs-object").bytes == 300_000


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (pointer(b"x" * 77), 77),
        (pointer(b"x" * 77).replace(b"\n", b"\r\n"), 77),
        (pointer(b"x" * 77).replace(b"oid", b"ext-0-foo sha256:" + b"1" * 64 + b"\noid"), 77),
        (pointer(b"x") + b"more", None),
        (b" " + pointer(b"x"), None),
        (pointer(b"x").replace(b"sha256", b"sha512"), None),
        (pointer(b"x").replace(b"size 1", b"size -1"), None),
        (pointer(b"x") + b" " * 1024, None),
        (b"", None),
    ],
)
def test_what_a_pointer_is(content: bytes, size: int | None) -> None:
    found = parse_pointer(content, "m.bin")
    assert (found.size if found else None) == size
