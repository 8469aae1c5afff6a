"""The chat models' own kinds of Spaces, end to end: one that asks the core, one that loads the weights by itself."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client

import spaces_runner
from spaces_runner import control, core, looking, secrets
from spaces_runner.core import Command, CoreStatus
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.types import RunOptions, SpaceStatus, Stage
from tests.support.cli import Cli
from tests.support.home import make_settings, open_directory
from tests.support.shims import files_with

ROOT = Path(__file__).parents[2]
EXAMPLES, DEMO = ROOT / "examples", ROOT / "app" / "inference" / "demo"
PATIENCE_S = 300.0
REUSED = 'core_reused_tokens_total{model="guanaco-7b",protocol="tgi"}'
NO_SMALL_TORCH = "the pinned torch has a small wheel for Python 3.11 only"

pytestmark = pytest.mark.network_index


@pytest.fixture(scope="module")
def home(package_cache: Path) -> Iterator[Settings]:
    path = open_directory("sr-on-core-")
    settings = make_settings(path, package_cache)
    yield settings
    core.stop(settings)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def demo_core(home: Settings) -> CoreStatus:
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    return core.ensure(
        home, Command(python=sys.executable, root=str(ROOT), environ=environ, preset="demo", threads=1, gpu="none")
    )


@pytest.fixture(scope="module")
def playground(home: Settings, demo_core: CoreStatus) -> Iterator[SpaceStatus]:
    """The Guanaco Playground on the core, started as a person starts it."""
    words = ("run", str(EXAMPLES / "guanaco-playground"), "--model", "guanaco-7b", "--no-share", "--detach")
    done = Cli(settings=home)(*words, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    space_id = done.stdout.strip()
    yield looking.status(space_id, home)
    control.remove(space_id, home)


def of(status: SpaceStatus) -> Client:
    assert status.local_url is not None
    return Client(status.local_url, verbose=False)


def chat(client: Client, text: str, *, tokens: int = 64) -> tuple[str, int]:
    """What the playground answers, all but greedily, and in how many pieces it came."""
    job = client.submit(text, 0.01, 0.9, tokens, 1.0, api_name="/chat")
    return str(job.result(timeout=120)), len(job.outputs())


def test_the_playground_chats_with_the_local_core(playground: SpaceStatus) -> None:
    client = of(playground)
    try:
        answer, pieces = chat(client, "What is the capital of France?")
        assert "Paris" in answer
        assert pieces > 3, "it streams"
        assert "### Human" not in answer
    finally:
        client.close()


def test_a_second_turn_is_answered_with_the_first_in_mind(playground: SpaceStatus, demo_core: CoreStatus) -> None:
    def reused() -> float:
        headers = {"Authorization": f"Bearer {demo_core.token}"}
        lines = httpx.get(f"{demo_core.url}/metrics", headers=headers).raise_for_status().text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(REUSED))

    client = of(playground)
    try:
        first, _ = chat(client, "What is 2 + 3?")
        before = reused()
        second, _ = chat(client, "What is the opposite of hot?")
        assert "5" in first
        assert "cold" in second
        assert reused() > before
    finally:
        client.close()


def test_its_token_is_its_own_and_a_secret(playground: SpaceStatus, home: Settings, demo_core: CoreStatus) -> None:
    token = secrets.read(home, playground.id)["API_TOKEN"]
    assert token != demo_core.token
    assert [Path(name).parent for name in files_with(token, Path(home.home))] == [home.secrets_dir]
    assert not [line for line in command_lines() if token.encode() in line]
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{demo_core.url}/v1/models", headers=headers).status_code == 200
    managing = httpx.post(f"{demo_core.url}/v1/models/guanaco-7b/unload", headers=headers)
    assert managing.status_code == 403


def command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:  # it has ended
            continue
    return found


def test_a_model_that_is_not_there_starts_nothing(home: Settings, demo_core: CoreStatus) -> None:
    before = {status.id for status in looking.statuses(home)}
    done = Cli(settings=home)("run", str(EXAMPLES / "guanaco-playground"), "--name", "other", "--model", "gpt-9")
    assert done.returncode == 1
    assert "no model 'gpt-9'" in done.stderr
    assert "guanaco-7b" in done.stderr
    assert {status.id for status in looking.statuses(home)} == before


def test_a_removed_space_has_no_key_any_more(home: Settings, demo_core: CoreStatus) -> None:
    source = EXAMPLES / "hello-interface"
    space = spaces_runner.run(source, model="guanaco-7b=MODEL_URL", share=False, wait=False, settings=home, quiet=True)
    try:
        token = secrets.read(home, space.id)["API_TOKEN"]
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{demo_core.url}/v1/models", headers=headers).status_code == 200
    finally:
        space.remove()
    assert httpx.get(f"{demo_core.url}/v1/models", headers=headers).status_code == 401


@pytest.mark.skipif(shutil.which("python3.11") is None, reason=NO_SMALL_TORCH)
def test_alpaca_lora_loads_the_demo_weights_by_itself(home: Settings) -> None:
    """Its environment has torch, transformers and peft: a minute or two where the packages are not at hand yet."""
    weights = Path(home.home) / "weights"  # the Space runs as a user of its own, who may not enter every checkout
    for name in ("llama-7b", "alpaca-lora-7b"):
        shutil.copytree(DEMO / name, weights / name, copy_function=shutil.copyfile)
    app_args = ("--base_model", str(weights / "llama-7b"), "--lora_weights", str(weights / "alpaca-lora-7b"))
    ref = parse(str(EXAMPLES / "alpaca-lora"), home)
    options = RunOptions(share=False, app_args=app_args)
    space_id = control.start(control.Request(ref=ref, options=options), home).id
    try:
        status = looking.wait(space_id, home, PATIENCE_S)
        log = "\n".join(looking.log_tail(space_id, home, "run", 40))
        assert status.stage is Stage.RUNNING, f"{status.error}\n{log}"
        client = of(status)
        try:
            assert "Paris" in follow(client, "What is the capital of France?")
            assert "cold" in follow(client, "What is the opposite of hot?")
        finally:
            client.close()
    finally:
        control.remove(space_id, home)


def follow(client: Client, instruction: str) -> str:
    """One beam, no chance."""
    said: Any = client.predict(instruction, "", 0.0, 1.0, 0, 1, 48, api_name="/follow")
    return str(said)
