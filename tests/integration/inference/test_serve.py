"""`python -m app.inference serve` as a process: how it is started, what it says, what it costs idle, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import inference_checkpoints as checkpoints
from tests.support.inference_process import ROOT, STOP_S, TOKEN, Core, running
from tests.support.inference_server import until

MODEL = "tiny"


@pytest.fixture(scope="module")
def models() -> Iterator[Path]:
    """A file of models with a tiny LLaMA that talks without end."""
    home = Path(tempfile.mkdtemp(prefix="sr-serve-"))
    for directory in ("llama", "broken"):
        checkpoints.write_llama(home / directory, checkpoints.llama(), "safetensors")
    weights = home / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    own = home / "own.toml"
    places = {MODEL: "llama", "gone": "nowhere", "broken": "broken"}
    own.write_text("".join(_section(name, home / place) for name, place in places.items()))
    yield own
    shutil.rmtree(home)


def _section(name: str, weights: Path) -> str:
    return (
        f'[models.{name}]\nfamily = "llama"\nprompt = "mpt-storywriter"\ncontext = 4096\n'
        f'precision = "fp32"\nweights = "{weights}"\n'
    )


@pytest.fixture(scope="module")
def core(models: Path) -> Iterator[Core]:
    with running(models.parent, "--preset", "demo", "--models", str(models)) as started:
        yield started


def serve(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A start that is refused."""
    command = [sys.executable, "-m", "app.inference", "serve", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
    )


def ask(client: httpx.Client, **more: Any) -> httpx.Response:
    body = {"model": MODEL, "prompt": "Once upon a time", "max_tokens": 4, "temperature": 0, "ignore_eos": True}
    return client.post("/v1/completions", json={**body, **more})


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_it_says_in_one_line_of_json_that_it_is_ready(core: Core) -> None:
    assert core.ready["pid"] == core.process.pid
    assert (core.ready["preset"], core.ready["why"]) == ("demo", "")
    assert MODEL in core.ready["models"]
    assert "token" not in core.ready, "a token that was given is not shown"
    assert httpx.get(f"{core.url}/health").status_code == 200


def test_a_model_loads_at_its_first_request_and_answers(core: Core) -> None:
    with core.client() as client:
        answer = ask(client)
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] == 4
        assert core.model(MODEL)["residency"] == "resident"
        assert core.model(MODEL)["weight_bytes"] > 0


def test_idle_it_takes_no_processor(core: Core) -> None:
    with core.client() as client:
        assert ask(client).status_code == 200
    until(lambda: _rested(core.process.pid), 60)


def _rested(pid: int) -> bool:
    before = cpu_seconds(pid)
    time.sleep(2)
    return cpu_seconds(pid) - before <= 0.02


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [("gone", "weights_missing", "nowhere"), ("broken", "weights_corrupt", "model.safetensors")],
)
def test_a_model_without_sound_weights_says_so_and_the_others_go_on(
    core: Core, name: str, code: str, says: str
) -> None:
    with core.client() as client:
        completed = client.post("/v1/completions", json={"model": name, "prompt": "Hi", "max_tokens": 4})
        assert (completed.status_code, completed.json()["error"]["code"]) == (503, code)
        assert says in completed.json()["error"]["message"]
        generated = client.post(f"/tgi/{name}", json={"inputs": "Hi"})
        assert (generated.status_code, generated.json()["error_type"]) == (503, code)
        assert says in generated.json()["error"]
        assert core.model(name)["residency"] == "failed"
        assert ask(client).status_code == 200


def test_an_unknown_model_lists_the_known_ones(core: Core) -> None:
    with core.client() as client:
        missing = client.post("/v1/models/nobody/load")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_model")
        assert MODEL in missing.json()["error"]["message"]
        assert ask(client).status_code == 200


def test_sleep_and_unload_by_the_owner(core: Core) -> None:
    with core.client() as client:
        states = [client.post(f"/v1/models/{MODEL}/{verb}").json()["residency"] for verb in ("load", "sleep", "unload")]
        assert states == ["resident", "asleep", "absent"]
        assert ask(client).status_code == 200


def test_told_to_stop_it_lets_answers_go_on_and_then_interrupts_them(models: Path) -> None:
    """The end comes within ten seconds, and every answer under way has one."""
    with running(models.parent, "--preset", "demo", "--models", str(models)) as core, core.client() as client:
        assert ask(client).status_code == 200
        begun, ended = threading.Event(), list[str]()

        def read() -> None:
            body = {"model": MODEL, "prompt": "Go", "max_tokens": 4000, "stream": True, "ignore_eos": True}
            with client.stream("POST", "/v1/completions", json=body) as answer:
                for line in answer.iter_lines():
                    begun.set()
                    if line:
                        ended.append(line)

        reading = threading.Thread(target=read)
        reading.start()
        assert begun.wait(30)
        told = time.monotonic()
        core.process.send_signal(signal.SIGTERM)
        assert core.process.wait(STOP_S) == 0
        assert time.monotonic() - told < STOP_S
        reading.join(10)
        errors = [line for line in ended if '"error"' in line]
        assert errors, ended[-3:]
        assert json.loads(errors[-1].removeprefix("data: "))["error"]["code"] == "interrupted"


def test_for_people_it_says_a_sentence_and_the_token_it_made(models: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "SPACES_RUNNER_CORE_TOKEN"}
    choice = models.parent / "choice.json"
    command = [sys.executable, "-m", "app.inference", "serve", "--models", str(models), "--choice", str(choice)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**environ, "CUDA_VISIBLE_DEVICES": "", "SPACES_RUNNER_HOME": str(models.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        token = lines[2].rpartition(" ")[2]
        assert lines[0].endswith(".")
        assert json.loads(choice.read_text()) == {"preset": "demo", "why": lines[0], "device": "cpu"}
        assert lines[1].startswith("Inference core: http://127.0.0.1:")
        address = lines[1].split()[2]
        assert httpx.get(f"{address}/v1/models", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert httpx.get(f"{address}/v1/models", headers={"Authorization": "Bearer other"}).status_code == 401
    finally:
        process.terminate()
        process.wait(STOP_S)
        if process.stdout:
            process.stdout.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "this machine alone"),
        (("--host", "nowhere.invalid"), "Cannot listen on nowhere.invalid"),
        (("--port", "99999"), "99999 is no port"),
        (("--models", "/nonexistent.toml"), "/nonexistent.toml cannot be read"),
        (("--token-file", "/nonexistent"), "The token in /nonexistent cannot be read"),
        (("--token", "short"), "A token has at least 8 characters"),
        (("--threads", "-1"), "--threads is -1; at least 1 is needed"),
        (("--threads", "0"), "--threads is 0; at least 1 is needed"),
        (("--ttl", "0"), "--ttl is 0; it must be more than 0 seconds"),
        (("--ttl", "-5"), "--ttl is -5; it must be more than 0 seconds"),
        (("--ttl", "nan"), "--ttl is nan; it must be more than 0 seconds"),
        (("--choice", "/proc/nowhere/choice.json"), "cannot be written to /proc/nowhere/choice.json"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = serve("--preset", "demo", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_token_may_come_from_a_file_and_the_socket_be_a_file(models: Path) -> None:
    home = models.parent
    (home / "token").write_text(TOKEN + "\n")
    place = home / "core.sock"
    with running(home, "--preset", "demo", "--token-file", str(home / "token"), "--socket", str(place)) as core:
        assert core.url == f"unix:{place}"
        assert place.stat().st_mode & 0o777 == 0o600
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(place)),
            base_url="http://core",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as client:
            assert client.get("/v1/models").status_code == 200
