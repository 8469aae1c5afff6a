"""The inference core as a service of the runner: one for all faces, under a shim, with keys of its own."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from app.inference.types import Residency
from spaces_runner import control, core, gpu, looking, secrets
from spaces_runner.core import Command, CoreStatus, keys, link, room, service
from spaces_runner.errors import BadOption, CoreFailed, UnknownSpace
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import Gpu, RefKind, RunOptions, SpaceRef, Stage
from tests.support import inference_checkpoints as checkpoints
from tests.support.cli import Cli
from tests.support.home import make_settings, open_directory
from tests.support.inference_server import TOKEN as SCRIPTED_TOKEN
from tests.support.inference_server import ScriptedService, serving
from tests.support.shims import files_with, until

ROOT = Path(__file__).parents[2]
MODEL = "guanaco-7b"
GIB = 1024**3
CARD = Gpu(index=0, uuid="GPU-a", name="H200", total_bytes=100 * GIB, free_bytes=5 * GIB)


@pytest.fixture(scope="module")
def home(package_cache: Path) -> Iterator[Settings]:
    """One state directory for the tests of this file, in which one core runs."""
    path = open_directory("sr-core-")
    settings = make_settings(path, package_cache)
    yield settings
    core.stop(settings)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def command(home: Settings) -> Command:
    """A core with a tiny LLaMA of random weights under a name of the catalogue."""
    weights = Path(home.home) / "weights"
    checkpoints.write_llama(weights / "llama", checkpoints.llama())
    own = weights / "own.toml"
    own.write_text(f'[models."{MODEL}".presets.demo]\nweights = "{weights / "llama"}"\nadapter = ""\n')
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    return Command(python=sys.executable, root=str(ROOT), environ=environ, models=str(own), threads=1, gpu="none")


@pytest.fixture
def here(home: Settings, command: Command) -> CoreStatus:
    """The core, running."""
    return core.ensure(home, command)


def ask(where: CoreStatus, token: str | None, path: str = "/v1/models", method: str = "GET") -> int:
    return httpx.request(
        method, f"{where.url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=60
    ).status_code


def test_of_many_callers_one_starts_it_and_all_find_it(home: Settings, command: Command) -> None:
    with ThreadPoolExecutor(6) as callers:
        found = list(callers.map(lambda _: core.ensure(home, command), range(6)))
    assert len({(status.url, status.token, status.pid) for status in found}) == 1
    assert (found[0].stage, found[0].preset) == (Stage.RUNNING, "demo")
    assert found[0].why.startswith("No GPU here: "), "why it chose that by itself"
    assert ask(found[0], found[0].token) == 200
    assert ask(found[0], "another") == 401


def test_it_is_no_space(home: Settings, here: CoreStatus) -> None:
    assert looking.statuses(home) == ()
    with pytest.raises(UnknownSpace):
        looking.find("inference-core", home)
    assert Cli(settings=home).data("ps") == []


def test_the_command_line_finds_it_and_shows_its_log(home: Settings, here: CoreStatus) -> None:
    cli = Cli(settings=home)
    shown = cli("core", "status", "--json")
    assert shown.returncode == 0
    assert f'"url": "{here.url}"' in shown.stdout
    assert f'"pid": {here.pid}' in shown.stdout
    assert f'"why": "{here.why}"' in shown.stdout
    people = cli("core", "status")
    assert f"url    {here.url}" in people.stdout
    assert "RUNNING: the inference core, preset demo" in people.stderr
    assert here.why in people.stderr
    again = cli("core", "start", "--preset", "full")
    assert here.url is not None
    assert here.url in again.stdout, "one that runs is left as it is"
    assert "Inference core: " in cli("core", "logs").stdout


def test_the_token_is_in_the_secrets_alone(home: Settings, here: CoreStatus) -> None:
    assert here.token
    (where,) = files_with(here.token, Path(home.home))
    assert Path(where).parent == home.secrets_dir
    assert Path(where).stat().st_mode & 0o777 == 0o600
    command_lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in command_lines if here.token.encode() in line]


def test_a_key_of_a_space_uses_models_and_manages_none(home: Settings, here: CoreStatus) -> None:
    token = keys.grant(home, "a-space")
    assert ask(here, token) == 200
    assert ask(here, token, f"/v1/models/{MODEL}/load", "POST") == 403
    assert not files_with(token, Path(home.home)), "the file keeps a digest"
    keys.revoke(home, [token, "unknown"])
    assert ask(here, token) == 401
    assert ask(here, here.token) == 200


def test_a_model_of_it_becomes_an_address(home: Settings, here: CoreStatus) -> None:
    assert MODEL in link.models(here)
    assert link.address(link.parse(MODEL), here) == f"{here.url}/tgi/{MODEL}"
    with pytest.raises(BadOption, match=f"no model 'gone'.*{MODEL}"):
        link.address(link.parse("gone"), here)
    with pytest.raises(CoreFailed, match="does not say"):
        link.models(replace(here, token="another"))


def test_when_it_crashes_it_is_started_again_with_the_same_token(home: Settings, here: CoreStatus) -> None:
    assert here.pid is not None
    os.kill(here.pid, signal.SIGKILL)

    def back() -> bool:
        now = core.status(home)
        return now is not None and now.stage is Stage.RUNNING and now.pid not in (None, here.pid) and bool(now.url)

    until(back, 90)
    now = core.status(home)
    assert now is not None
    assert (now.restarts, now.token) == (1, here.token)
    assert now.url == here.url, "running Spaces hold it in a variable"
    assert ask(now, here.token) == 200


def test_it_ends_with_its_shim_and_the_next_face_starts_it_anew(home: Settings, command: Command) -> None:
    before = core.ensure(home, command)
    run = service.run_of(Store(home))
    assert run is not None
    assert run.shim is not None
    run.shim.signal(signal.SIGKILL)
    until(lambda: not Path(f"/proc/{before.pid}").exists(), 15)
    lost = core.status(home)
    assert lost is not None
    assert (lost.stage, lost.url) == (Stage.RUNTIME_ERROR, None)
    assert lost.error is not None
    anew = service.again(home)
    assert (anew.stage, anew.token, anew.url) == (Stage.RUNNING, before.token, before.url)
    assert anew.pid != before.pid


def test_stopped_it_keeps_its_log(home: Settings, here: CoreStatus) -> None:
    begun = time.monotonic()
    stopped = core.stop(home)
    assert time.monotonic() - begun < 12
    assert stopped is not None
    assert (stopped.stage, stopped.url, stopped.pid) == (Stage.STOPPED, None, None)
    assert not Path(f"/proc/{here.pid}").exists()
    assert any(line.startswith("Inference core: ") for line in core.log_tail(home))
    assert list(core.log_follow(home)) == []
    done = Cli(settings=home)("core", "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "spaces-runner core start" in done.stderr


def test_one_that_cannot_start_says_why(settings: Settings, command: Command) -> None:
    with pytest.raises(CoreFailed, match="did not start") as caught:
        core.ensure(settings, replace(command, models="/nonexistent.toml"))
    assert any("/nonexistent.toml cannot be read" in line for line in caught.value.lines)
    assert "core logs" in caught.value.hint


def test_where_there_never_was_one(settings: Settings) -> None:
    assert core.status(settings) is None
    assert core.stop(settings) is None
    assert core.log_tail(settings) == []
    with pytest.raises(CoreFailed, match="There is no inference core"):
        service.again(settings)
    with pytest.raises(CoreFailed, match="There is no inference core"):
        control.start(
            control.Request(ref=SpaceRef(kind=RefKind.DIRECTORY, source="/somewhere"), options=RunOptions(model=MODEL)),
            settings,
        )
    assert looking.statuses(settings) == (), "nothing half-made is left behind"
    assert Cli(settings=settings)("core", "status", "--json").stdout.strip() == "null"


@pytest.mark.parametrize("text", ["", "=API_URL", "a b", "guanaco-7b=1X", "guanaco-7b=", "../x"])
def test_what_names_no_model(text: str) -> None:
    with pytest.raises(BadOption):
        link.parse(text)


def test_the_variable_may_have_another_name() -> None:
    assert link.parse("guanaco-7b=MODEL_URL") == link.Link(model="guanaco-7b", variable="MODEL_URL")
    assert link.parse("guanaco-7b").variable == "API_URL"


# Room on a GPU that there is not: the ledger and the driver's word are pretended, the conversation with the core is not


def neighbours(settings: Settings, url: str) -> str:
    """A core that runs at `url` and leases the pretended card, and a Space that is about to; its run's id."""
    store = Store(settings)
    of_core = store.admit(service.REF, RunOptions())
    secrets.add(settings, of_core.space.id, {"SPACES_RUNNER_CORE_TOKEN": SCRIPTED_TOKEN})
    store.update(of_core.run_id, {"stage": Stage.RUNNING, "local_url": url + "/"})
    of_space = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/a"), RunOptions())
    for run_id in (of_core.run_id, of_space.run_id):
        store.lease(run_id, lambda _: CARD.uuid)
    return of_space.run_id


def test_idle_models_go_to_sleep_until_a_space_has_room(settings: Settings) -> None:
    scripted = ScriptedService()
    with serving(scripted) as url:
        run_id = neighbours(settings, url)
        httpx.post(f"{url}/v1/models/alpaca/load", headers={"Authorization": f"Bearer {SCRIPTED_TOKEN}"})
        httpx.post(f"{url}/v1/models/llava/load", headers={"Authorization": f"Bearer {SCRIPTED_TOKEN}"})
        free = iter((5, 20, 90))
        found = room.make(run_id, CARD, "t4-small", settings, lambda: (replace(CARD, free_bytes=next(free) * GIB),))
    assert [finding.code for finding in found] == ["core-made-room"]
    assert "alpaca" in found[0].message
    assert "llava" not in found[0].message, "16 GiB were enough"
    core_run = service.run_of(Store(settings))
    assert core_run is not None
    assert gpu.promised(Store(settings), core_run.id) == 16 * GIB


def test_what_is_free_already_wakes_nobody_from_work(settings: Settings) -> None:
    with serving(ScriptedService()) as url:
        run_id = neighbours(settings, url)
        httpx.post(f"{url}/v1/models/alpaca/load", headers={"Authorization": f"Bearer {SCRIPTED_TOKEN}"})
        assert room.make(run_id, CARD, None, settings, lambda: (replace(CARD, free_bytes=60 * GIB),)) == ()


def test_what_the_core_is_about_to_take_is_not_free(settings: Settings) -> None:
    """A model is being loaded: the driver does not know of it yet, the core's lease does."""
    scripted = ScriptedService(residency={"llava": Residency.LOADING}, promised={"llava": 10 * GIB})
    with serving(scripted) as url:
        run_id = neighbours(settings, url)
        httpx.post(f"{url}/v1/models/alpaca/load", headers={"Authorization": f"Bearer {SCRIPTED_TOKEN}"})
        found = room.make(run_id, CARD, "t4-small", settings, lambda: (replace(CARD, free_bytes=20 * GIB),))
    assert [finding.code for finding in found] == ["core-made-room"]
    assert scripted.residency["alpaca"] is Residency.ASLEEP


def test_a_core_that_does_not_answer_keeps_no_space_from_its_start(settings: Settings) -> None:
    run_id = neighbours(settings, "http://127.0.0.1:9")
    (found,) = room.make(run_id, CARD, "t4-small", settings, lambda: (CARD,))
    assert found.code == "core-keeps-its-room"
    assert "spaces-runner core stop" in found.remedy


def test_without_a_core_on_the_card_nothing_is_asked(settings: Settings) -> None:
    store = Store(settings)
    run_id = store.admit(SpaceRef(kind=RefKind.DIRECTORY, source="/a"), RunOptions()).run_id
    store.lease(run_id, lambda _: CARD.uuid)
    assert room.make(run_id, CARD, "t4-small", settings, lambda: (CARD,)) == ()
