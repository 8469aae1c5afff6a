"""The protocol of text-generation-inference, spoken by text-generation 0.7.0, the client that old Spaces have.

It wants huggingface-hub below 1, so it has an environment of its own, made once and kept beside the package cache.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from app.inference.errors import OutOfMemory, Overloaded, PromptTooLong
from app.inference.server import streams
from app.inference.types import GenerateRequest
from tests.support.inference_server import TOKEN, ScriptedService, Step, card, hello, loading, saying, serving

pytestmark = pytest.mark.network_index

REQUIREMENTS = ("text-generation==0.7.0", "requests==2.34.2")  # it imports requests and does not say so
SCRIPT = Path(__file__).with_name("tgi_client_script.py")


@pytest.fixture(scope="module")
def python(package_cache: Path) -> Path:
    """The interpreter of the client's environment."""
    name = "-".join(["tgi-client", f"{sys.version_info.major}.{sys.version_info.minor}", *REQUIREMENTS])
    target = package_cache / name.replace("==", "-")
    uv, interpreter = str(Path(sys.executable).with_name("uv")), target / "bin" / "python"
    with FileLock(f"{target}.lock"):
        if not (target / "made").exists():
            subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, target], check=True, timeout=120)
            install = [uv, "pip", "install", "-q", "--python", str(interpreter), *REQUIREMENTS]
            subprocess.run(install, check=True, timeout=300)
            (target / "made").touch()
    return interpreter


SCRIPTS: dict[str, list[Step]] = {
    "slow": [*loading(3.0), *saying("Late", " but", " whole")],  # longer than the client waits for a byte
    "long": [PromptTooLong(900, 511)],
    "full": [Overloaded("The queue is full.", retry_after=3)],
    "failing": [OutOfMemory("No room for it.")],
    "breaking": [*saying("One")[:-1], OutOfMemory("No room for more.")],
}


def by_name(request: GenerateRequest) -> list[Step]:
    return SCRIPTS.get(request.model) or hello(request)


@pytest.fixture
def said(python: Path, scripted: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the client got from a server that keeps its streams alive every half a second."""
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.5)
    monkeypatch.setattr(streams, "OPENING_S", 0.5)
    scripted.script = by_name
    scripted.offered = (*(card(name) for name in ("guanaco", *SCRIPTS)), card("demo", demo=True))
    with serving(scripted) as address:
        command = [str(python), "-W", "error::UserWarning", str(SCRIPT), address, TOKEN]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)


def test_what_the_client_makes_of_our_server(said: dict[str, Any], scripted: ScriptedService) -> None:
    assert said == {
        "whole": ["Hello there!", "eos_token", 3, ["Hello", " there", "!"]],
        "stream": ["Hello there!", "Hello there!", "eos_token", 3],
        "async": ["Hello there!", "Hello there!"],
        "slow": ["Late but whole", "Late but whole", "eos_token", 3],
        "demo": ["Hello there!", "Hello there!", "Hello there!", "eos_token", 3],
        "long": "ValidationError: The prompt has 900 tokens; the model takes at most 511. "
        "Shorten the conversation, or start a new one.",
        "long stream": "ValidationError: The prompt has 900 tokens; the model takes at most 511. "
        "Shorten the conversation, or start a new one.",
        "full": "OverloadedError: The queue is full. Try again in 3 s.",
        "failing": "GenerationError: No room for it.",
        "breaking": "GenerationError: No room for more.",
        "nobody": "NotFoundError: There is no model 'nobody' here. "
        "There are: guanaco, slow, long, full, failing, breaking, demo.",
        "refused": "ValidationError: best_of is not supported here. Leave best_of out.",
    }
    first = scripted.requests[0]
    assert (first.prompt.text, first.client) == ("Hi", "owner")
    assert (first.sampling.max_tokens, first.sampling.temperature, first.sampling.seed) == (7, 0.5, 3)


def test_a_stream_is_never_silent_for_as_long_as_the_client_waits() -> None:
    """Its 10 s, unless it is told otherwise: until the answer begins, and between two signs of life."""
    assert max(streams.OPENING_S, streams.KEEP_ALIVE_S) <= 5
