"""A core whose device is lost tells its callers so and ends by a code of its own. The loss is staged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.inference.__main__ import DEVICE_LOST
from tests.support import inference_checkpoints as checkpoints
from tests.support.inference_process import ROOT, TOKEN, Core, ready_line

STAGED = """
import sys
import torch
from app.inference import __main__ as core
from app.inference import weights
from app.inference.engine.runner import Runner

def lost(*arguments):
    raise torch.AcceleratorError("CUDA error: device-side assert triggered")

{where} = lost
core._leave(core.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("where", ["Runner.run", "weights.load"])
def test_a_core_that_loses_its_device_tells_it_and_ends_by_a_code_of_its_own(tmp_path: Path, where: str) -> None:
    checkpoints.write_llama(tmp_path / "llama", checkpoints.llama())
    own = tmp_path / "own.toml"
    own.write_text(
        '[models.tiny]\nfamily = "llama"\nprompt = "mpt-storywriter"\ncontext = 512\nprecision = "fp32"\n'
        f'weights = "{tmp_path / "llama"}"\n'
    )
    environ = {**os.environ, "SPACES_RUNNER_HOME": str(tmp_path), "SPACES_RUNNER_CORE_TOKEN": TOKEN}
    command = [sys.executable, "-c", STAGED.format(where=where), "serve", "--json", "--threads", "1", "--port", "0"]
    command += ["--preset", "demo", "--models", str(own)]
    log = tmp_path / "core.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ | {"CUDA_VISIBLE_DEVICES": ""}, stdout=subprocess.PIPE, stderr=stderr,
            text=True,
        )  # fmt: skip
    try:
        ready = ready_line(process, log)
        with Core(url=ready["url"], process=process, ready=ready).client() as client:
            answer = client.post("/v1/completions", json={"model": "tiny", "prompt": "Once", "max_tokens": 4})
        assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
        assert "started anew" in answer.json()["error"]["message"]
        assert process.wait(20) == DEVICE_LOST, log.read_text()
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
