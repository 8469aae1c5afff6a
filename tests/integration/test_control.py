"""What faces do, through real shims; a build is real too, where one is needed."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import spaces_runner
from spaces_runner import control, looking, stopping
from spaces_runner.codec import encode
from spaces_runner.errors import (
    AmbiguousSpace,
    BadOption,
    CoreFailed,
    GpuUnavailable,
    LaunchError,
    NetworkFailed,
    NeverReady,
    SpaceBusy,
    UnknownSpace,
)
from spaces_runner.handle import Space as Handle
from spaces_runner.process import Family, identify
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import Failed, RefKind, RunOptions, SpaceRef, Stage, StageChanged
from spaces_runner.variables import MARK
from tests.support.cli import Cli
from tests.support.hub import Hub
from tests.support.shims import ROOT, SERVE, Shims, files_with, until

# Nothing is to be installed and no package index is asked: this Space fails before.
BROKEN = "---\nsdk: nonsense\n---\n"
SLOW_BUILD = "---\nsdk: gradio\nsdk_version: 6.31.0\n---\n"


def space(settings: Settings, name: str, readme: str) -> control.Request:
    folder = settings.home_dir / "sources" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(readme)
    (folder / "app.py").write_text("print('hello')\n")
    return control.Request(
        ref=SpaceRef(kind=RefKind.DIRECTORY, source=str(folder)),
        options=RunOptions(share=False),
        secrets={"A": "bcdefgh"},
    )


@pytest.fixture
def slow(settings: Settings) -> Iterator[Settings]:
    """A package index that takes connections and never answers: a build that takes as long as one likes."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        index = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        yield replace(settings, index_url=index, find_links=(), extra_index_urls=())


def family(settings: Settings, space_id: str) -> Family:
    run = Store(settings).run(space_id)
    return Family(mark=run.id, user=Store(settings).user(run.space))


def test_a_failed_build_from_start_to_end(settings: Settings) -> None:
    request = space(settings, "broken", BROKEN)
    space_id = control.start(request, settings).id
    assert space_id == "broken"
    events = list(looking.follow(space_id, settings, timeout=60))
    status = looking.wait(space_id, settings, timeout=5)
    assert status.stage is Stage.CONFIG_ERROR
    assert status.error is not None
    assert status.error.code == "unknown_sdk"
    assert [event.error for event in events if isinstance(event, Failed)] == [status.error]
    last = events[-1]
    assert isinstance(last, StageChanged)
    assert last.stage is Stage.CONFIG_ERROR
    assert looking.statuses(settings) == (status,)
    assert [event for _, event in looking.events(space_id, settings)] == events
    assert looking.patch_diff(space_id, settings) == ""
    assert "bcdefgh" not in repr(request)


def test_a_failed_space_is_started_again(settings: Settings) -> None:
    space_id = control.start(space(settings, "broken", BROKEN), settings).id
    first = looking.wait(space_id, settings, timeout=60)
    assert control.restart(space_id, settings) == space_id
    second = looking.wait(space_id, settings, timeout=60)
    assert second.stage is Stage.CONFIG_ERROR
    assert second.started_at != first.started_at
    assert len(looking.statuses(settings)) == 1


def test_fifty_starts_at_once_are_one_build(settings: Settings, slow: Settings) -> None:
    request = space(settings, "slow", SLOW_BUILD)
    with ThreadPoolExecutor(50) as pool:
        all_started = list(pool.map(lambda _: control.start(request, slow), range(50)))
    assert len({started.id for started in all_started}) == 1
    assert [started.fresh for started in all_started].count(True) == 1
    until(lambda: Store(settings).run("slow").shim is not None)
    assert len([path for path in Path("/proc").iterdir() if path.name.isdigit() and is_shim_of(path, settings)]) == 1
    stopping.stop("slow", settings)


def is_shim_of(process: Path, settings: Settings) -> bool:
    try:
        command = (process / "cmdline").read_bytes()
        target = (process / "fd" / "2").readlink()
    except OSError:
        return False
    return b"spaces_runner.shim" in command and str(target).startswith(settings.home)


def test_stopping_a_build_ends_all_of_it(settings: Settings, slow: Settings) -> None:
    space_id = control.start(space(settings, "slow", SLOW_BUILD), slow).id
    until(lambda: len(family(settings, space_id).members()) >= 1)
    time.sleep(1.5)  # into the resolution
    begun = time.monotonic()
    status = stopping.stop(space_id, settings)
    assert time.monotonic() - begun < 15
    assert status.stage is Stage.STOPPED
    assert status.error is None
    assert family(settings, space_id).members() == ()
    environments = settings.environments_dir
    assert not environments.exists() or [path for path in environments.iterdir() if path.name[0] != "."] == []


def test_a_killed_shim_takes_the_build_along(settings: Settings, slow: Settings) -> None:
    space_id = control.start(space(settings, "slow", SLOW_BUILD), slow).id
    run = Store(settings).run(space_id)
    until(lambda: len(family(settings, space_id).members()) >= 1)
    assert run.shim is not None
    assert run.shim.signal(signal.SIGKILL)
    status = looking.wait(space_id, settings, timeout=30)  # it notices by itself
    assert status.stage is Stage.BUILD_ERROR
    assert status.error is not None
    assert (status.error.code, status.error.stage) == ("shim_lost", Stage.BUILD_ERROR)
    assert not settings.space(space_id).build.exists()
    assert family(settings, space_id).members() == ()


def test_the_shim_outlives_the_face(settings: Settings, slow: Settings) -> None:
    request = space(settings, "slow", SLOW_BUILD)
    code = (
        "import json, sys; from spaces_runner import control; from spaces_runner.codec import decode;"
        "from spaces_runner.settings import Settings; from spaces_runner.types import *;"
        "told = json.load(sys.stdin); ref = decode(SpaceRef, told['ref']);"
        "control.start(control.Request(ref=ref), decode(Settings, told['settings']))"
    )
    told = json.dumps({"ref": encode(request.ref), "settings": encode(slow)})
    face = subprocess.run(
        [sys.executable, "-c", code], input=told, text=True, cwd=ROOT, timeout=60, check=True, start_new_session=True
    )
    assert face.returncode == 0
    run = Store(settings).run("slow")
    assert run.shim is not None
    assert run.shim.alive
    assert run.status.stage is Stage.BUILDING
    environment = Path(f"/proc/{run.shim.pid}/environ").read_bytes()
    assert b"HOME=" not in environment
    assert Path(f"/proc/{run.shim.pid}/cwd").readlink() == Path("/")
    stopping.stop("slow", settings)


def test_the_hub_token_is_nowhere(settings: Settings, slow: Settings) -> None:
    token = "hf_" + "q" * 30
    slow = replace(slow, hf_token=token)
    space_id = control.start(space(settings, "slow", SLOW_BUILD), slow).id
    until(lambda: len(family(settings, space_id).members()) >= 1)
    run = Store(settings).run(space_id)
    assert run.shim is not None
    for member in (run.shim, *family(settings, space_id).members()):
        for name in ("cmdline", "environ"):
            assert token.encode() not in Path(f"/proc/{member.pid}/{name}").read_bytes()
    stopping.stop(space_id, settings)
    assert files_with(token, settings.home_dir) == []


def test_removing_leaves_nothing(shims: Shims) -> None:
    shim = shims.start(SERVE, values={"KEY": "some-value"})
    shim.until_stage(Stage.RUNNING)
    settings = shims.settings
    control.remove(shim.id, settings)
    assert shim.family.members() == ()
    assert looking.statuses(settings) == ()
    assert not settings.space(shim.id).root.exists()
    assert list(settings.secrets_dir.iterdir()) == []
    assert list((settings.home_dir / "trash").iterdir()) == []
    with pytest.raises(UnknownSpace):
        control.remove(shim.id, settings)


def test_what_a_person_may_call_a_space(settings: Settings) -> None:
    folder = settings.home_dir / "sources" / "own"
    folder.mkdir(parents=True)
    store = Store(settings)
    for source in ("gradio/hello", "gradio/help", "owner/hello"):
        store.admit(SpaceRef(kind=RefKind.HUB, source=source), RunOptions())
    store.admit(SpaceRef(kind=RefKind.HUB, source="gradio/help", revision="dev"), RunOptions(), "second")
    for source in ("/gone/own", str(folder)):
        store.admit(SpaceRef(kind=RefKind.DIRECTORY, source=source), RunOptions())
    for text in ("gradio-hello", "gradio/hello", "gradio-hel" + "lo", "spaces/gradio/hello", " gradio/hello/ ",
                 "https://huggingface.co/spaces/gradio/hello"):  # fmt: skip
        assert looking.find(text, settings) == "gradio-hello"
    for text, space_id in (("second", "second"), ("gradio/help@dev", "second"), ("own", "own"), ("/gone/own", "own"),
                           (str(folder), "own-2"), (f"{folder}/", "own-2")):  # fmt: skip
        assert looking.find(text, settings) == space_id


def test_what_several_spaces_are_called_is_told(settings: Settings) -> None:
    store = Store(settings)
    for source, name in (("gradio/hello", None), ("gradio/hello", "again"), ("owner/hello", None), ("owner/one", None)):
        store.admit(SpaceRef(kind=RefKind.HUB, source=source), RunOptions(), name)
    store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/home/one"), RunOptions(), "folder")
    for text, ids in (("gradio/hello", "gradio-hello, again"), ("hello", "gradio-hello, again, owner-hello")):
        with pytest.raises(AmbiguousSpace) as caught:
            looking.find(text, settings)
        assert caught.value.hint == f"Say which by its id: {ids}."
        assert "again  gradio/hello" in caught.value.lines
    assert looking.find("one", settings) == "owner-one", "the directory's name does not count"
    expected = {"own": "Do you mean owner-hello, owner-one?", "nothing": "There are: gradio-hello", "": "There are: "}
    for text, named in {**expected, "gradio/hello@v2": "There are: ", "./hello": "There are: "}.items():
        with pytest.raises(UnknownSpace) as unknown:
            looking.find(text, settings)
        assert named in unknown.value.hint


def test_a_directory_is_not_removed_by_its_name(settings: Settings) -> None:
    """Whoever removes `tiny` twice must not have removed two Spaces."""
    store = Store(settings)
    for source in ("/one/tiny", "/two/tiny"):
        ended = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source=source), RunOptions())
        store.record(ended.run_id, StageChanged(at=1.0, stage=Stage.STOPPED), {"stage": Stage.STOPPED})
    cli = Cli(settings=settings)
    assert cli("rm", "tiny").returncode == 0
    again = cli("rm", "tiny", "--json")
    assert again.returncode == 1
    assert "Do you mean tiny-2?" in again.stderr
    assert json.loads(again.stdout)["error"]["code"] == "unknown_space"
    assert [space.id for space in store.spaces()] == ["tiny-2"]


def test_another_revision_of_what_runs_is_refused(shims: Shims) -> None:
    shim = shims.start(SERVE)
    shim.until_stage(Stage.APP_STARTING, Stage.RUNNING)
    other = replace(shim.admission.space.ref, revision="other")
    with pytest.raises(SpaceBusy):
        control.start(control.Request(ref=other, name="app"), shims.settings)


def test_the_log_is_read_and_followed(shims: Shims) -> None:
    source = """
    import threading, time
    print("first"); print("second")
    def talk():
        for number in range(1000):
            print("tick", number)
            time.sleep(0.05)
    threading.Thread(target=talk, daemon=True).start()
    """
    shim = shims.start(source + SERVE)
    shim.until_stage(Stage.RUNNING)
    assert looking.log_tail(shim.id, shims.settings, "run", 10_000)[:2] == ["first", "second"]
    assert len(looking.log_tail(shim.id, shims.settings, "run", 2)) == 2
    everything = Handle(id=shim.id, settings=shims.settings).logs(tail=10_000, follow=True)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(looking.log_follow(shim.id, shims.settings)))
    reader.start()
    until(lambda: len(lines) > 5)
    stopping.stop(shim.id, shims.settings)
    reader.join(10)
    assert not reader.is_alive(), "following ends with the Space"
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    ticks = list(everything)[2:]
    assert len(ticks) > numbers[-1]
    assert ticks == [f"tick {number}" for number in range(len(ticks))]


def test_a_space_whose_shim_was_killed_is_never_told_as_running(shims: Shims) -> None:
    shim = shims.start(SERVE)
    watcher = shim.until_stage(Stage.RUNNING).shim
    assert watcher is not None
    assert watcher.signal(signal.SIGKILL)
    until(lambda: not watcher.alive)
    status = looking.wait(shim.id, shims.settings, timeout=5)
    assert status.error is not None
    assert (status.stage, status.error.code) == (Stage.RUNTIME_ERROR, "shim_lost")
    assert looking.status(shim.id, shims.settings) == status
    assert status.local_url is None


ESCAPED = """
    import os, subprocess, sys
    code = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); time.sleep(300)"
    subprocess.run([sys.executable, "-S", "-c", code])
"""


def test_what_escaped_a_killed_shim_is_gone_after_the_next_verb(shims: Shims) -> None:
    shim = shims.start(ESCAPED + SERVE)
    watcher = shim.until_stage(Stage.RUNNING).shim
    assert watcher is not None
    assert watcher.signal(signal.SIGKILL)
    until(lambda: not watcher.alive and len(shim.family.members()) == 1)
    done = Cli(settings=shims.settings)("logs", shim.id)
    assert done.returncode == 0, done.stderr
    assert shim.family.members() == ()
    assert Store(shims.settings).run(shim.id).status.stage is Stage.RUNTIME_ERROR


@pytest.fixture
def orphan(settings: Settings) -> Iterator[Family]:
    """What is left of a run whose shim is gone: one process, known by its mark alone."""
    store = Store(settings)
    admission = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/lost"), RunOptions())
    gone = subprocess.Popen(["sleep", "300"])
    shim = identify(gone.pid)
    gone.kill()
    gone.wait()
    assert shim is not None
    store.attach(admission.run_id, shim)
    left = Family(mark=admission.run_id)
    with subprocess.Popen(["sleep", "300"], env={MARK: admission.run_id}, start_new_session=True) as process:
        until(lambda: len(left.members()) == 1)
        yield left
        process.kill()


@pytest.mark.parametrize(
    "verb",
    [
        ("doctor",),
        ("inspect", "some/space"),
        ("patch", "tests/spaces/launch-plain/app.py"),
        ("prune", "--dry-run"),
        ("ps", "--quiet"),
        ("stop", "other"),
        ("rm", "other"),
        ("restart", "other", "--no-wait"),
        ("core", "status"),
    ],
    ids=lambda verb: verb[0],
)
def test_every_verb_sweeps(settings: Settings, orphan: Family, verb: tuple[str, ...]) -> None:
    away = replace(settings, hf_endpoint="http://127.0.0.1:9", share_server="http://127.0.0.1:9")
    store = Store(settings)
    other = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/other"), RunOptions())
    store.record(other.run_id, StageChanged(at=1.0, stage=Stage.STOPPED), {"stage": Stage.STOPPED})
    done = Cli(settings=away)(*verb)
    assert "Traceback" not in done.stderr
    assert orphan.members() == ()
    assert store.run("lost").status.stage is Stage.BUILD_ERROR


ASKED = {
    "status": lambda handle: handle.status,
    "logs": lambda handle: handle.logs(),
    "events": lambda handle: handle.events(),
    "stop": lambda handle: handle.stop(),
    "remove": lambda handle: handle.remove(),
}


@pytest.mark.parametrize("asked", ASKED)
def test_every_question_of_a_handle_sweeps(settings: Settings, orphan: Family, asked: str) -> None:
    store = Store(settings)
    other = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/other"), RunOptions())
    store.record(other.run_id, StageChanged(at=1.0, stage=Stage.STOPPED), {"stage": Stage.STOPPED})
    ASKED[asked](Handle(id="other", settings=settings))
    assert orphan.members() == ()


def test_an_inspection_by_python_sweeps(settings: Settings, orphan: Family) -> None:
    with pytest.raises(NetworkFailed):
        spaces_runner.inspect("some/space", settings=replace(settings, hf_endpoint="http://127.0.0.1:9"))
    assert orphan.members() == ()


def test_a_sweep_that_has_nothing_to_do_is_almost_free(settings: Settings) -> None:
    """In time of the processor, so that a busy machine does not count."""
    store = Store(settings)
    me = identify(os.getpid())
    assert me is not None
    for number in range(40):
        run_id = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source=f"/{number}"), RunOptions()).run_id
        if number < 20:
            store.attach(run_id, me)
        else:
            store.record(run_id, StageChanged(at=1.0, stage=Stage.STOPPED), {"stage": Stage.STOPPED})
    assert looking.sweep(settings) == ()
    begun = time.process_time()
    for _ in range(50):
        looking.sweep(settings)
    assert (time.process_time() - begun) / 50 < 0.005


DEAF = """
    import os, signal, subprocess, sys
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    code += "os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0);"
    for body in ("time.sleep(300)", "\\nwhile True:\\n os.fork() and (time.sleep(0.02), os._exit(0))"):
        subprocess.run([sys.executable, "-S", "-c", code + body])
"""


@pytest.fixture
def patient(settings: Settings, space_python: str) -> Iterator[Shims]:
    """Shims that give an app as long to end as an owner's do."""
    made = Shims(settings, space_python)
    yield made
    made.close()


def test_a_family_that_is_deaf_is_stopped_within_15_seconds(patient: Shims) -> None:
    shim = patient.start(DEAF + SERVE)
    shim.until_stage(Stage.RUNNING, timeout=40)
    begun = time.monotonic()
    assert stopping.stop(shim.id, patient.settings).stage is Stage.STOPPED
    assert 10 <= time.monotonic() - begun < 15
    assert shim.family.members() == ()


def test_a_shim_that_hangs_is_no_longer_waited_for_than_that(patient: Shims) -> None:
    """It gets a few milliseconds to notice that it is to stop, and never another."""
    shim = patient.start(DEAF + SERVE)
    watcher = shim.until_stage(Stage.RUNNING, timeout=40).shim
    assert watcher is not None
    over = threading.Event()

    def hold() -> None:
        while not over.is_set() and watcher.signal(signal.SIGSTOP):
            time.sleep(0.002)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        begun = time.monotonic()
        assert stopping.stop(shim.id, patient.settings).stage is Stage.STOPPED
        assert 10 <= time.monotonic() - begun < 15
    finally:
        over.set()
        holder.join(5)
    assert not watcher.alive
    assert shim.family.members() == ()


def test_waiting_has_a_deadline(shims: Shims) -> None:
    shim = shims.start("import time; time.sleep(60)")
    begun = time.monotonic()
    assert looking.wait(shim.id, shims.settings, timeout=0.5).stage.active
    assert time.monotonic() - begun < 3


def test_a_handle_waits_no_longer_than_it_is_told_to(settings: Settings, slow: Settings) -> None:
    folder = Path(space(settings, "slow", SLOW_BUILD).ref.source)
    begun = time.monotonic()
    with pytest.raises(NeverReady, match="after 4 s"):
        spaces_runner.run(folder, timeout=4, progress=lambda _: None, settings=slow)
    assert time.monotonic() - begun < 7
    [left] = spaces_runner.spaces(settings=slow)
    left.stop()


def test_a_run_whose_face_died_before_its_shim_was_there(settings: Settings) -> None:
    store = Store(settings)
    admission = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/x"), RunOptions())
    assert looking.sweep(settings) == ()
    with sqlite3.connect(settings.database) as db:
        db.execute("UPDATE runs SET created = created - 3600")
    db.close()
    assert looking.sweep(settings) == (admission.space.id,)
    assert store.run(admission.space.id).status.stage is Stage.BUILD_ERROR


def test_a_shim_that_cannot_start_is_an_error_and_no_run_is_left(settings: Settings) -> None:
    settings.spaces_dir.parent.mkdir(exist_ok=True)
    settings.spaces_dir.write_text("in the way")
    with pytest.raises(LaunchError):
        control.start(space(settings, "x", BROKEN), settings)
    assert looking.statuses(settings)[0].stage is Stage.RUNTIME_ERROR


def test_pruning_removes_what_no_space_uses(settings: Settings) -> None:
    space_id = control.start(space(settings, "broken", BROKEN), settings).id
    looking.wait(space_id, settings, timeout=60)
    leftover = settings.spaces_dir / "gone"
    leftover.mkdir()
    (settings.environments_dir / "unused").mkdir(parents=True)
    mirror = settings.mirrors_dir / "owner--name-0123456789.git"
    mirror.mkdir(parents=True)
    told = control.prune(settings, dry_run=True)
    gone = {"environments": ["unused"], "mirrors": [mirror.name], "leftovers": ["gone"]}
    assert told == {**gone, "caches": [], "images": []}
    assert leftover.exists()
    assert control.prune(settings) == told
    assert not any(path.exists() for path in (leftover, mirror, settings.environments_dir / "unused"))
    assert settings.space(space_id).root.exists()


def test_pruning_leaves_the_mirror_of_a_space_that_was_pasted_as_its_own_address(settings: Settings, hub: Hub) -> None:
    hub.add_space("Some-Owner/my.space", {"README.md": BROKEN, "app.py": ""})
    settings = hub.settings(settings)
    request = control.Request(ref=parse("https://some-owner-my-space.hf.space", settings))
    space_id = control.start(request, settings).id
    assert looking.wait(space_id, settings, timeout=60).stage is Stage.CONFIG_ERROR
    [mirror] = settings.mirrors_dir.glob("*.git")
    assert control.prune(settings)["mirrors"] == []
    control.remove(space_id, settings)
    assert control.prune(settings)["mirrors"] == [mirror.name]


def test_pruning_the_cache_waits_for_builds(settings: Settings, slow: Settings) -> None:
    own = replace(settings, home=str(settings.home_dir / "own"))
    (own.uv_cache_dir / "wheels").mkdir(parents=True)
    space_id = control.start(space(settings, "slow", SLOW_BUILD), replace(slow, home=own.home)).id
    with pytest.raises(SpaceBusy):
        control.prune(own, cache=True)
    stopping.stop(space_id, own)
    assert "cache" in control.prune(own, cache=True)["caches"]
    assert not own.uv_cache_dir.exists()


@pytest.mark.parametrize(
    ("name", "python", "words"),
    [
        ("../x", None, "'../x' cannot be"),
        ("", None, "cannot be"),
        (None, "abc", "no Python version"),
        (None, "2.7", "2.7"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything(
    settings: Settings, name: str | None, python: str | None, words: str
) -> None:
    request = space(settings, "broken", BROKEN)
    request = replace(request, name=name, options=replace(request.options, python=python))
    with pytest.raises(BadOption, match=words):
        control.start(request, settings)
    assert looking.statuses(settings) == ()


def test_a_secret_that_would_show_in_the_logs_is_refused(settings: Settings) -> None:
    request = replace(space(settings, "broken", BROKEN), secrets={"EMPTY": "", "PIN": "123"})
    with pytest.raises(BadOption, match="PIN is too short to be kept out of the logs") as refused:
        control.start(request, settings)
    assert "123" not in f"{refused.value} {refused.value.hint}"
    assert looking.statuses(settings) == ()


def test_a_gpu_that_is_not_here_is_refused_and_the_last_error_stays(settings: Settings) -> None:
    request = space(settings, "broken", BROKEN)
    absent = replace(request, options=replace(request.options, gpu="77"))
    with pytest.raises(GpuUnavailable, match="There:"):
        control.start(absent, settings)
    assert looking.statuses(settings) == ()
    assert not settings.spaces_dir.exists()
    failed = looking.wait(control.start(request, settings).id, settings, 60)
    assert failed.error is not None
    with pytest.raises(GpuUnavailable):
        control.start(absent, settings)
    assert looking.statuses(settings) == (failed,)


def test_a_restart_on_a_gpu_that_went_away_leaves_it_running(shims: Shims) -> None:
    running = shims.start(SERVE)
    before = running.until_stage(Stage.RUNNING).status
    with sqlite3.connect(shims.settings.database) as db:  # started on a machine that had it, or before the card broke
        db.execute("UPDATE spaces SET options = json_set(options, '$.gpu', 'GPU-gone')")
    db.close()
    with pytest.raises(GpuUnavailable, match="GPU-gone"):
        control.restart(running.id, shims.settings)
    assert looking.status(running.id, shims.settings) == before


def test_a_restart_whose_model_cannot_be_had_leaves_it_running(shims: Shims) -> None:
    running = shims.start(SERVE)
    before = running.until_stage(Stage.RUNNING).status
    with sqlite3.connect(shims.settings.database) as db:  # its core has been removed since
        db.execute("UPDATE spaces SET options = json_set(options, '$.model', 'guanaco-7b')")
    db.close()
    with pytest.raises(CoreFailed, match="no inference core"):
        control.restart(running.id, shims.settings)
    assert looking.status(running.id, shims.settings) == before


def test_importing_it_is_quick() -> None:
    """A face pays for it at every start. Standard library and our own light modules alone."""
    code = "import sys, spaces_runner.control; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names) - {"__main__", "spaces_runner"}
    assert {name for name in loaded if not name.startswith(("_", "sitecustomize", "distutils"))} == set()
