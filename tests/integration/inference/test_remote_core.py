"""A core in a process of its own whose models are elsewhere: what it says of them, and how their answers end."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.inference.types import GenerateRequest
from tests.support.inference_process import STOP_S, Core, running
from tests.support.inference_remote import PROTOCOLS
from tests.support.inference_server import TOKEN, ScriptedService, Step, delta, saying, until


@pytest.fixture
def near(address: str, tmp_path: Path) -> Iterator[Core]:
    """It has one model by each protocol, which the server over `scripted` serves."""
    (tmp_path / "token").write_text(TOKEN)
    own = tmp_path / "own.toml"
    own.write_text("".join(_section(address, protocol) for protocol in PROTOCOLS))
    with running(tmp_path, "--preset", "demo", "--models", str(own)) as core:
        yield core


def _section(address: str, protocol: str) -> str:
    base = f"{address}/tgi/guanaco" if protocol == "tgi" else f"{address}/v1"
    return (
        f'[models.far-{protocol}]\nfamily = "llama"\nprompt = "guanaco"\ncontext = 512\n'
        f'[models.far-{protocol}.remote]\nurl = "{base}"\nprotocol = "{protocol}"\nmodel = "guanaco"\n'
        'token_file = "./token"\n'
    )


def endless(request: GenerateRequest) -> Iterator[Step]:
    yield from saying()[:2]
    while True:
        yield delta("more ")
        yield 0.05


def last_of(core: Core, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What a stream says at last."""
    with core.client() as client, client.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200
        told = [line.removeprefix("data:").strip() for line in answer.iter_lines() if line.startswith("data:")]
    last: dict[str, Any] = json.loads([line for line in told if line != "[DONE]"][-1])
    return last


def test_told_to_stop_it_ends_their_answers_with_an_error_of_the_protocol(
    near: Core, scripted: ScriptedService
) -> None:
    scripted.script = endless
    with ThreadPoolExecutor(2) as readers:
        prompt = {"model": "far-openai", "prompt": "Go", "max_tokens": 400, "stream": True}
        completed = readers.submit(last_of, near, "/v1/completions", prompt)
        generated = readers.submit(last_of, near, "/tgi/far-tgi/generate_stream", {"inputs": "Go"})
        until(lambda: len(scripted.requests) == 2, 20)
        near.process.send_signal(signal.SIGTERM)
        assert near.process.wait(STOP_S) == 0
        assert completed.result(10)["error"]["code"] == "interrupted"
        assert generated.result(10)["error_type"] == "incomplete_generation"
    until(lambda: len(scripted.cancelled) == 2)


def test_their_tokens_cannot_be_counted_here(near: Core) -> None:
    with near.client() as client:
        for protocol in PROTOCOLS:
            answer = client.post("/tokenize", json={"model": f"far-{protocol}", "prompt": "Hi"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "not_supported")
            assert "served elsewhere" in answer.json()["error"]["message"]
